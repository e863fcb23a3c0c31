"""The ring of eight: the healthy set-up and the failing one of lesson 02, three seeds each, as a table.

    python bench/toy_ring.py [--seeds 0 1 2] [--threads 2]

Counted as in the lesson (`coverage`) on 2500 points after the last round; "seconds" is a whole game with its first and
last snapshot. Exit status 1 if a healthy game covers fewer than 7 modes or takes 60 s, or a failing one covers more than 3.
Half a minute on two cores.
"""
import argparse
import dataclasses
import sys
import time

import torch

from gan_course.toy import COLLAPSE, ToyConfig, play



def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for _ in play(ToyConfig(steps=20)): pass  # warm up
    missed = 0
    print("| seed | set-up | modes | good | seconds |\n|---|---|---|---|---|")
    for seed in args.seeds:
        for name, config in (("healthy", ToyConfig()), ("failing", COLLAPSE), ("failing, mended by r1=0.1", dataclasses.replace(COLLAPSE, r1=.1))):
            started = time.perf_counter()
            for s in play(dataclasses.replace(config, seed=seed), every=config.steps, n=2500): pass
            seconds = time.perf_counter() - started
            missed += s["modes"] > 3 if name == "failing" else s["modes"] < 7 or (name == "healthy" and seconds > 60)
            print(f"| {seed} | {name} | {s['modes']} of 8 | {s['good']:.0%} | {seconds:.1f} |", flush=True)
    sys.exit(missed > 0)


if __name__ == "__main__": main()
