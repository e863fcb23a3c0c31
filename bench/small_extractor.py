"""The small extractor of the lesson on FID, trained anew: half a minute on one core.

    python bench/small_extractor.py [--weights FILE]      by default gan_course/judges/small-extractor.safetensors

Tells how often it is right about birds it has not seen. Other weights give other distances: raise `Small.version`
with them.
"""
from dataclasses import dataclass
from pathlib import Path

import torch
from common import ROOT, Options, read_options, report
from safetensors.torch import save_file

from gan_course.core import seeded, to_float
from gan_course.features import Small, train_small
from gan_course.toybirds import draw_birds, toy_scene

QUESTIONS = ("species", "head", "tail", "place")


@dataclass
class ExtractorOptions(Options):
    TINY_SIZES = dict(steps=5, n=256, weights=None)
    steps: int = 400  # of its training
    n: int = 4000  # birds to learn from
    weights: Path|None = ROOT/"gan_course/judges/small-extractor.safetensors"  # where they are written, in float16


@torch.no_grad()
def right_answers(net, n=2000, seed=77):
    """Share of right answers to each question."""
    scene = toy_scene(n, seeded(seed), .5)
    answers = net(to_float(draw_birds(scene, 32)[0]))
    return {q: (a.argmax(1) == scene[q]).float().mean().item() for q, a in zip(QUESTIONS, answers, strict=True)}


def main():
    o = read_options(ExtractorOptions, __doc__)
    net = train_small(o.steps, o.n)
    rows = {"trained anew": right_answers(net), "in the package": right_answers(Small().net)}
    report(o, {"share of right answers": rows})
    if o.weights:
        save_file({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}, o.weights)
        print(f"\nwritten to {o.weights}")


if __name__ == "__main__":
    main()
