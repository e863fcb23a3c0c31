"""The small extractor of lesson 07, trained anew: half a minute on one core.

    python bench/small_extractor.py [--out FILE]      by default gan_course/judges/small-extractor.safetensors

Prints how often it is right about birds it has not seen. Other weights give other distances: raise `Small.version` with them.
"""
import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from gan_course import fid
from gan_course.core import seeded, to_float
from gan_course.data import draw_birds, toy_scene

QUESTIONS = ("species", "head", "tail", "place")


@torch.no_grad()
def right(net, n=2000, seed=77):
    """Share of right answers to each question."""
    scene = toy_scene(n, seeded(seed), .5)
    answers = net(to_float(draw_birds(scene, 32)[0]))
    return {q: (a.argmax(1) == scene[q]).float().mean().item() for q, a in zip(QUESTIONS, answers)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(fid.__file__).parent / "judges/small-extractor.safetensors")
    o = parser.parse_args()
    net = fid.train_small()
    for name, tested in (("trained anew", net), ("in the package", fid.Small().net)):
        print(f"{name:15} " + ", ".join(f"{q} {share:.1%}" for q, share in right(tested).items()))
    save_file({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}, o.out)
    print(f"written to {o.out}")
