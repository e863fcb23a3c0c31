"""From slider to picture: how long the kernel takes, and whether its memory stays flat.

    python bench/widget_latency.py [--moves 1000] [--threads 2]

A 32×32 DCGAN of the usual width (64) with its first weights; the widgets as a learner has them, without a browser: a
slider is set, and the clock stops when the bytes of the picture have changed. The browser adds its own few
milliseconds. Target: median below 50 ms, 95th percentile below 120 ms, and no growth over 1000 moves; exit status 1
if it is missed.
"""
import os
import sys
from dataclasses import dataclass

import torch
from common import Options, clock, read_options, report, resident

from gan_course.core import seeded
from gan_course.dcgan import build_model
from gan_course.widgets import EpochBrowser, LatentExplorer

WARM_UP = 20  # moves that are not counted


@dataclass
class LatencyOptions(Options):
    TINY_SIZES = dict(moves=10)
    moves: int = 1000


def bright_generator():
    """A DCGAN with first weights doubled, so that each picture differs from the last."""
    G = build_model("dcgan", 0)[0].eval()
    with torch.no_grad():
        for p in G.parameters():
            p.mul_(2.)
    return G


def time_moves(n, move, picture):
    """A row for n moves; `move(i)` sets a control, `picture()` gives the bytes that have to change."""
    for i in range(WARM_UP):
        move(i)
    times, same, before = [], 0, resident()
    for i in range(WARM_UP, n + WARM_UP):
        old = picture()
        times.append(1000 * clock(lambda i=i: move(i)).wall)
        same += picture() == old
    times = sorted(times)
    return {"moves": n, "median ms": times[n // 2], "95 % ms": times[int(.95 * n)], "longest ms": times[-1],
            "memory MiB": resident() - before, "pictures that stayed": same}


def explorer_rows(explorer, n):
    """control → its row, of the latent explorer."""
    places = torch.rand(n + WARM_UP, 2, generator=seeded(0)).tolist()
    explorer.rows[1].chosen = 3
    def slide(i): explorer.slider.value = i % 101
    def drag(i): explorer.pad.place = places[i]
    def choose_end(i): explorer.rows[0].chosen = i % 8
    def picture(): return explorer.image.value
    return {
        "latent explorer: slider": time_moves(n, slide, picture),
        "latent explorer: pad": time_moves(n, drag, picture),
        "latent explorer: another end (pad drawn anew)": time_moves(max(1, n // 10), choose_end, picture)}


def browser_rows(browser, n):
    """control → its row, of the epoch browser."""
    epochs, grid, strip = browser.scene.epochs, browser.grids[0], browser.strips[0]
    def slide(i): browser.go(epochs[i % len(epochs)])
    def choose_latent(i): grid.chosen = i % 64
    return {
        "epoch browser: slider": time_moves(n, slide, lambda: grid.value),
        "epoch browser: another latent": time_moves(max(1, n // 10), choose_latent, lambda: strip.value)}


def main():
    o = read_options(LatencyOptions, __doc__)
    rows = explorer_rows(LatentExplorer(bright_generator()), o.moves)
    rows |= browser_rows(EpochBrowser("toy-birds-dcgan"), o.moves)
    slider, pad = rows["latent explorer: slider"], rows["latent explorer: pad"]
    reached = {
        "slider: median below 50 ms": slider["median ms"] < 50,
        "slider: 95 % below 120 ms": slider["95 % ms"] < 120,
        "slider and pad: memory grows by less than 10 MiB": max(slider["memory MiB"], pad["memory MiB"]) < 10}
    targets = {name: {"reached": yes} for name, yes in reached.items()}
    load = f"load of the machine {os.getloadavg()[0]:.1f}"
    report(o, {f"from a control to its picture ({load})": rows, "targets": targets}, peers=("ipywidgets", "anywidget"))
    sys.exit(not o.tiny and not all(reached.values()))


if __name__ == "__main__":
    main()
