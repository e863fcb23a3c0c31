"""From slider to picture: how long the kernel takes, and whether its memory stays flat.

    python bench/widget_latency.py [MOVES] [THREADS]

A 32×32 DCGAN of the usual width (64) with its first weights, by default on two threads; the widgets as a learner has them, without a browser:
a slider is set, and the clock stops when the bytes of the picture have changed. The browser adds its own few milliseconds.
Target: median below 50 ms, 95th percentile below 120 ms, and no growth over 1000 moves.
"""
import gc
import os
import sys
import time

import torch

from gan_course.core import seeded
from gan_course.dcgan import build_model
from gan_course.widgets import EpochBrowser, LatentExplorer

THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 2


def memory():  # MB of this process, resident
    with open("/proc/self/statm") as f: return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def moves(name, n, move, picture):
    """Time n moves; `move(i)` sets a control, `picture()` gives the bytes that have to change."""
    for i in range(20): move(i)
    gc.collect()
    times, same, before = [], 0, memory()
    for i in range(20, n + 20):
        old, started = picture(), time.perf_counter()
        move(i)
        times.append(1000 * (time.perf_counter() - started))
        same += picture() == old
    gc.collect()
    times = sorted(times)
    print(f"| {name} | {times[n // 2]:.1f} | {times[int(.95 * n)]:.1f} | {times[-1]:.1f} | {memory() - before:+.1f} | {same} |", flush=True)
    return times[n // 2], times[int(.95 * n)], memory() - before


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    torch.set_num_threads(THREADS)
    G = build_model("dcgan", 0)[0].eval()
    with torch.no_grad():  # brighter than its first weights paint, so that each picture differs from the last
        for p in G.parameters(): p.mul_(2.)
    explorer, browser = LatentExplorer(G), EpochBrowser("toy-birds-dcgan")
    explorer.rows[1].chosen = 3
    places, epochs = torch.rand(n + 20, 2, generator=seeded(0)).tolist(), browser.scene.epochs
    print(f"{n} moves, {THREADS} threads, load {os.getloadavg()[0]:.1f}\n\n| control | median ms | 95 % ms | longest ms | memory MB | pictures that stayed |\n|---|---|---|---|---|---|")
    slider = moves("latent explorer: slider", n, lambda i: setattr(explorer.slider, "value", i % 101), lambda: explorer.image.value)
    pad = moves("latent explorer: pad", n, lambda i: setattr(explorer.pad, "place", places[i]), lambda: explorer.image.value)
    moves("latent explorer: another end (pad drawn anew)", n // 10, lambda i: setattr(explorer.rows[0], "chosen", i % 8), lambda: explorer.image.value)
    moves("epoch browser: slider", n, lambda i: browser.go(epochs[i % len(epochs)]), lambda: browser.grids[0].value)
    moves("epoch browser: another latent", n // 10, lambda i: setattr(browser.grids[0], "chosen", i % 64), lambda: browser.strips[0].value)
    good = slider[0] < 50 and slider[1] < 120 and max(slider[2], pad[2]) < 10
    print(f"\nslider of the latent explorer: median {slider[0]:.1f} ms (target below 50), 95 % {slider[1]:.1f} ms (below 120): {'reached' if good else 'NOT reached'}")
    sys.exit(not good)
