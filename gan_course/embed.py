"""Pieces of HTML that move without a kernel, a server or a network: a walk through the latents, a run by its epochs.

Frames, slider and script are one text. The script is `static/frames.js`, the rest `static/frames.html`.
"""
import base64
import html
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

import torch
from torch import Tensor, nn

from .core import InputError, image_grid
from .guards import guard, printable
from .latent import slerp, walk
from .runs import Run
from .scenes import EpochScene, LatentScene, to_pil
from .session import draw_latents, undisturbed
from .steps import evenly

__all__ = ["PANELS", "epoch_browser_html", "frames_html", "latent_walk_html"]

# of the curves: a title, and for each line the column of the history, its name and its colour
PANELS = (
    ("losses", (("d_loss_real", "D on real", "#4c9be8"), ("d_loss_fake", "D on fake", "#e8833a"),
                ("g_loss", "G", "#3fae5a"))),
    ("accuracy of D", (("d_acc_real", "real", "#4c9be8"), ("d_acc_real_test", "held out", "#a77bd8"),
                       ("d_acc_fake", "fake", "#e8833a"))),
    ("FID", (("fid", "", "#d6568c"),)),
)


def _static(name):
    return (Path(__file__).parent / "static" / name).read_text(encoding="utf-8")


def _data_uri(image, quality):
    "(C,H,W) uint8 as JPEG in text form, with full colour resolution: about a fifth of a PNG."
    file = io.BytesIO()
    to_pil(image).save(file, "JPEG", quality=quality, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _attribute(value):
    "A text or a list as the value of an HTML attribute."
    return html.escape(value if isinstance(value, str) else json.dumps(value), quote=True)


def _check_frames(frames, captions, cursors, first):
    "An `InputError` unless there is a caption for each frame, all of one size, and for each its cursors, if any."
    if not frames or len(captions) != len(frames) or len(cursors) not in (0, len(frames)):
        raise InputError(f"{len(frames)} frames, {len(captions)} captions, cursors of {len(cursors)} were given: "
                         "give 1 frame or more, a caption for each, and cursors for each or none")
    shapes = {tuple(frame.shape) for frame in frames}
    if len(shapes) > 1: raise InputError(f"frames of shapes {', '.join(map(str, sorted(shapes)))}: give one size")
    if first >= len(frames): raise InputError(f"there is no frame {first}: there are {len(frames)}, from 0 on")


def frames_html(
    frames: Sequence[Tensor],  # (C,H,W) uint8 each, all of one size
    captions: Sequence[str],  # a text for each
    label: str,  # what the slider moves through
    first: int = 0,  # the frame that shows first
    ms: int = 250,  # a frame, while playing
    width: int = 560,  # CSS pixels at most
    below: str = "",  # HTML under the picture; elements of class gan-cursor are moved to `cursors`
    cursors: Sequence[Sequence[float]] = (),  # for each frame the x of each of these
    most: int = 1_400_000,  # bytes that the piece may have
) -> str:  # one self-contained piece of HTML
    "Frames with a slider, a play button and keys; needs no kernel and no network."
    captions, label = [printable(text) for text in captions], printable(label)
    _check_frames(frames, captions, cursors, first)
    template, script = Template(_static("frames.html")), _static("frames.js")
    texts = {"captions": captions, "caption": captions[first], "cursors": cursors, "label": label}
    texts = {name: _attribute(value) for name, value in texts.items()}
    for quality in (90, 80, 70, 55, 40):  # down until the piece is small enough
        data: list[str|None] = [_data_uri(frame, quality) for frame in frames]
        shown, data[first] = data[first], None  # it stands in the <img>
        piece = template.substitute(texts, frames=_attribute(data), shown=shown, first=first, last=len(frames) - 1,
                                    ms=ms, width=width, below=below, script=script)
        if len(piece) <= most: return piece
    raise InputError(f"{len(frames)} frames of {tuple(frames[0].shape)} do not fit into {most:,} bytes: "
                     "take fewer frames or fewer images")


@undisturbed()
def latent_walk_html(
    run_or_generator: Run | nn.Module | str | Path,  # a run, its folder, the name of a ready run; or a generator
    n: int = 6,  # walks side by side
    points: int = 3,  # random latents on each
    steps: int = 8,  # frames from one to the next
    seed: int = 0,
    path: Callable = slerp,  # or `lerp`
) -> str:  # one self-contained piece of HTML
    "Closed walks through the latents, side by side."
    if n * points * steps > 10_000:
        raise InputError(f"{n} walks through {points} points in {steps} steps are {n * points * steps:,} images: "
                         "no page should have more than 10,000")
    scene = LatentScene(run_or_generator)
    corners = draw_latents(n * points, scene.latent_dim, seed).unflatten(0, (n, points))
    z = torch.stack([walk(c, steps, path, closed=True)[:-1] for c in corners], 1)  # (frames,n,latent_dim)
    images = scene.images(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    captions = []
    for k in range(len(z)):
        on_the_way = f", {k % steps / steps:.0%} of the way on" if k % steps else ""
        captions.append(f"latent {k // steps + 1} of {points}{on_the_way}")
    return frames_html([image_grid(x, n, 1) for x in images], captions, "way through the latents", ms=120)


def _points(rows, name):
    "What was measured of one column: (epoch, value), at most 200 of them."
    measured = [(row["epoch"], row[name]) for row in rows if row[name] is not None]
    return evenly([(epoch, value) for epoch, value in measured if math.isfinite(value)], 200)


def _panel_x(epoch, last):
    "Where an epoch lies in a panel: its axis runs from x = 32 to 264."
    return round(32 + 232 * epoch / last, 1)


def _panel(rows, title, lines, last, epoch):
    "One panel of the curves as SVG, 275×122, with the cursor at `epoch`; None if nothing was measured."
    measured = {name: _points(rows, name) for name, _, _ in lines}
    values = [value for points in measured.values() for _, value in points]
    if not values: return None
    low, top = min(0., *values), 1. if title.startswith("acc") else max(0., *values)
    if low == top: top = 1.  # nothing but zeros
    legend = curves = ""
    for name, label, colour in lines:
        if not measured[name]: continue
        places = [(_panel_x(e, last), 104 - 80 * (value - low) / (top - low)) for e, value in measured[name]]
        points = " ".join(f"{x},{y:.1f}" for x, y in places)
        legend += f' <tspan fill="{colour}" font-weight="normal">{label}</tspan>'
        curves += f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>'
    return dict(title=title, legend=legend, curves=curves, top=f"{top:.3g}", low=f"{low:.3g}", last=last,
                cursor=_panel_x(epoch, last))


def _curves_svg(rows, last, epoch):
    "The curves of a run as SVG, and how many panels there are; the colour of the text makes the axes."
    template = Template(_static("panel.svg"))
    panels = [panel for title, lines in PANELS if (panel := _panel(rows, title, lines, last, epoch))]
    if not panels: return "", 0
    drawn = "".join(template.substitute(panel, left=275 * i) for i, panel in enumerate(panels))
    style = "width:100%; font:10px system-ui,sans-serif"
    head = f'<svg viewBox="0 0 {275 * len(panels)} 122" role="img" aria-label="curves of the run" style="{style}">'
    return f"{head}{drawn}</svg>", len(panels)


@undisturbed()
def epoch_browser_html(
    run: Run | str | Path,  # a run, the path of a run folder, or the name of a ready run
    n: int = 32,  # images of the fixed latents, from the first on
    epochs: Sequence[int] | None = None,  # which; by default at most 16 of those recorded, evenly spread
) -> str:  # one self-contained piece of HTML
    "The fixed latents through the epochs, with the curves; opens at the last epoch."
    scene = EpochScene(run)
    run = scene.runs[0]
    epochs = evenly(epochs or scene.epochs, 16)
    cols = min(8, n, run.info["samples"]["n"])
    frames = [image_grid(run.samples(e)[:n], cols, 1) for e in epochs]
    rows = run.history
    last = max([row["epoch"] for row in rows] + [epochs[-1], 1])  # at the right edge of the curves
    below, panels = _curves_svg(rows, last, epochs[-1])
    cursors = [[_panel_x(e, last)] * panels for e in epochs]
    captions = [f"epoch {e}" for e in epochs]
    return frames_html(frames, captions, "epoch", len(epochs) - 1, ms=500, below=below, cursors=cursors)


guard(__name__, {
    "first": "0..1e6", "ms": "20..60000", "width": "50..4000", "most": "1..", "n": "1..1e6",
    "points": "2..1000", "steps": "1..1000",
})
