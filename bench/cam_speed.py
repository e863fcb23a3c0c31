"""Grad-CAM and Grad-CAM++ together: ours against pytorch-grad-cam (pip install grad-cam), alternating in one run.

    python bench/cam_speed.py [--n 256] [--size 64] [--rounds 5] [--threads 2] [--calls 100]

For three networks, the time for both maps of the n images: ours in one call of `cams`, theirs in one call of GradCAM and one
of GradCAMPlusPlus on the same batch. The maps are compared as well (ours with eps=1e-6, as theirs has it). Below: how far the
memory of the process grows over so many calls, after ten to warm up.
"""
import argparse
import gc
import statistics
import time
from pathlib import Path

import torch
import torchvision
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus

from gan_course.core import seeded
from gan_course.dcgan import Discriminator, init_weights
from gan_course.gradcam import cams


def logit(output): return output if output.ndim == 1 else output[:, 0]


def networks(size):
    torch.manual_seed(0)
    for head in ("fc", "gap"):
        D = init_weights(Discriminator(size, head=head), seeded(0)).eval()
        yield f"DCGAN discriminator, {head}, last layer", D, D.features[-1]
    net = torchvision.models.resnet18(num_classes=1).eval()
    yield "torchvision resnet18, layer4", net, net.layer4


def ours(net, layer, x):
    both = cams(net, x, layer, logit, eps=1e-6)
    return both.gradcam, both.plusplus


def theirs(net, layer, x):
    maps = []
    for method in (GradCAM, GradCAMPlusPlus):
        with method(net, [layer]) as explainer: maps.append(torch.from_numpy(explainer(x, [lambda output: output.sum()] * len(x))))
    return maps


def seconds(function, *args):
    start = time.perf_counter()
    return function(*args), time.perf_counter() - start


def resident():
    """MiB of memory that the process holds (Linux)."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in dict(n=256, size=64, rounds=5, threads=2, calls=100).items(): parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    x = torch.rand(args.n, 3, args.size, args.size, generator=seeded(1)) * 2 - 1
    print(f"{args.n} images {args.size}×{args.size}, {args.threads} threads, median of {args.rounds} rounds; seconds for both maps\n")
    print(f"{'':40} {'ours':>8} {'theirs':>8} {'ratio':>7}  largest difference of the maps")
    for name, net, layer in networks(args.size):
        times = {ours: [], theirs: []}
        for i in range(args.rounds + 1):
            maps = {}
            for function in ((ours, theirs) if i % 2 else (theirs, ours)):
                maps[function], t = seconds(function, net, layer, x)
                if i: times[function].append(t)  # the first round warms up
        mine, other = (statistics.median(times[f]) for f in (ours, theirs))
        off = [(a - b).abs().max().item() for a, b in zip(maps[ours], maps[theirs])]
        print(f"{name:40} {mine:8.3f} {other:8.3f} {mine / other:7.2f}  Grad-CAM {off[0]:.1e}, Grad-CAM++ {off[1]:.1e}", flush=True)
    net, layer = list(networks(args.size))[0][1:]
    few = x[:32]
    for _ in range(10): ours(net, layer, few)
    before = resident()
    for _ in range(args.calls): ours(net, layer, few)
    print(f"\nmemory over {args.calls} calls with {len(few)} images: {before:.1f} → {resident():.1f} MiB; hooks left: {len(layer._forward_hooks)}")
