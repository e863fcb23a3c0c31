"""Grad-CAM and Grad-CAM++ together: ours against pytorch-grad-cam (pip install grad-cam), taking turns in one run.

    python bench/cam_speed.py [--n 256] [--size 64] [--rounds 5] [--threads 2] [--calls 100]

For three networks, the time for both maps of the n images: ours in one call of `cams`, theirs in one call of GradCAM
and one of GradCAMPlusPlus on the same batch. The maps are compared as well (ours with eps=1e-6, as theirs has it).
The second table tells how far the memory of the process grows over so many calls, after ten to warm up. Without
grad-cam only ours is timed.
"""
import functools
import statistics
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from common import Options, alternate, ratios, read_options, report, resident

from gan_course.core import seeded
from gan_course.dcgan import Discriminator, init_weights
from gan_course.gradcam import cams

try:
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus

    METHODS: tuple[Any, ...] = GradCAM, GradCAMPlusPlus
except ImportError:  # the versions in the result say so
    METHODS = ()


@dataclass
class CamOptions(Options):
    TINY_SIZES = dict(n=2, rounds=1, calls=2)
    n: int = 256  # images
    size: int = 64  # pixels of their sides
    rounds: int = 5
    calls: int = 100  # over which memory is watched


def logit(output):
    """(B,) as D gives them, or the first class of (B,classes)."""
    return output if output.ndim == 1 else output[:, 0]


def networks(size):
    """name → (network, layer to look at)."""
    torch.manual_seed(0)
    found = {}
    for head in ("fc", "gap"):
        D = init_weights(Discriminator(size, head=head), seeded(0)).eval()
        found[f"DCGAN discriminator, {head}, last layer"] = D, list(D.get_submodule("features").children())[-1]
    resnet = torchvision.models.resnet18(num_classes=1).eval()
    found["torchvision resnet18, layer4"] = resnet, resnet.layer4
    return found


def ours(net, layer, x):
    """Both maps by one pass."""
    both = cams(net, x, layer, logit, eps=1e-6)
    return both.gradcam, both.plusplus


def theirs(net, layer, x):
    """Both maps, one method after the other."""
    targets = [lambda output: output.sum()] * len(x)
    maps = []
    for method in METHODS:
        with method(net, [layer]) as explainer:
            maps.append(torch.from_numpy(explainer(x, targets)))
    return maps


def compare(net, layer, x, rounds):
    """A row: seconds of either, ours as a share of theirs, and how far the maps differ."""
    ways = {"ours": ours} | ({"theirs": theirs} if METHODS else {})
    seen = alternate({name: functools.partial(way, net, layer, x) for name, way in ways.items()}, rounds)
    seconds = {name: [t.wall for t in timings] for name, timings in seen.items()}
    row = {f"{name} s": statistics.median(s) for name, s in seconds.items()}
    if "theirs" in seen:
        row |= ratios(seconds["ours"], seconds["theirs"])
        for i, method in enumerate(("Grad-CAM", "Grad-CAM++")):
            row[f"{method} differs"] = (seen["ours"][-1].result[i] - seen["theirs"][-1].result[i]).abs().max().item()
    return row


def memory(net, layer, x, calls):
    """A row: the memory before and after many calls, and the hooks that they left."""
    for _ in range(min(10, calls)):
        ours(net, layer, x)
    before = resident()
    for _ in range(calls):
        ours(net, layer, x)
    return {"images": len(x), "calls": calls, "before MiB": before, "after MiB": resident(),
            "hooks left": len(layer._forward_hooks)}


def main():
    o = read_options(CamOptions, __doc__)
    x = torch.rand(o.n, 3, o.size, o.size, generator=seeded(1)) * 2 - 1
    found = networks(o.size)
    speed = {name: compare(net, layer, x, o.rounds) for name, (net, layer) in found.items()}
    net, layer = next(iter(found.values()))
    growth = [memory(net, layer, x[:32], o.calls)]
    report(o, {"seconds for both maps, medians; ratio of ours to theirs": speed, "memory": growth}, peers=("grad-cam",))


if __name__ == "__main__":
    main()
