"""`gan-course sample`, `explain` and `export`: what a run makes, where its discriminator looks, what it leaves."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from gan_course.cli._surroundings import as_weights, file_to_write, options, say

if TYPE_CHECKING:
    from gan_course.runs import Run


MOST = 1_000_000  # images that `sample` makes


@dataclass
class SampleOptions:
    """New images from a run: one picture with all of them, or a folder with one file each."""

    run: Positional[str]  # a run folder, or the name of a ready run such as toy-birds-dcgan
    out: Path | None = None
    """a .png file for one picture, or a folder for single images; by default RUN-samples.png here"""
    n: int = 64  # how many images
    seed: int = 0  # of the latents
    weights: str | None = None  # "last", "best" or an epoch; by default the best, if known, else the last
    cols: int = 8  # images a row
    classes: Annotated[tuple[str, ...], arg(name="class")] = ()
    """of a run with labels: images of this class only; several classes, or "all": a row of --cols images each"""
    model: str | None = None  # module:function, for a run of networks of your own


@dataclass
class ExplainOptions:
    """Where the discriminator of a run looks: Grad-CAM and Grad-CAM++, and the share of the heat on the bird."""

    run: Positional[str]  # a run folder, or the name of a ready run such as toy-birds-dcgan
    images: str | None = None
    """a folder of images, a data set, or "samples"; by default held-out images of the run's data, else its samples"""
    layer: tuple[str, ...] = ()  # one or several layers; by default the last one of each resolution
    target: str = "fake"  # the verdict that is explained: "fake" or "real"
    out: Path | None = None  # the .png file to write; by default RUN-explain.png here
    limit: int = 1000  # at most so many images for the numbers
    rows: int = 6  # images in the picture
    weights: str | None = None  # "last", "best" or an epoch; by default the best, if known, else the last
    model: str | None = None  # module:function, for a run of networks of your own


@dataclass
class ExportOptions:
    """The averaged generator of a run as a plain folder: generator.safetensors, generator.py, generator.onnx."""

    run: Positional[str]  # a run folder, or the name of a ready run such as toy-birds-dcgan
    out: Path | None = None  # the folder to make; by default RUN-generator here
    weights: str | None = None  # "last", "best" or an epoch; by default the best, if known, else the last
    onnx: bool = True  # generator.onnx, too; needs pip install 'gan-course[export]'
    model: str | None = None  # module:function, for a run of networks of your own


def run_of(name: str, model: str | None) -> Run:
    """A run by its folder or name, its own networks imported from where the user says."""
    from gan_course.networks import register_named
    from gan_course.runs import open_run

    if model: register_named(model)
    return open_run(name)


def sample(args: list[str]) -> None:
    """`gan-course sample`."""
    o = options(SampleOptions, "sample", args)
    import torch
    from PIL import Image

    from gan_course.core import InputError, image_grid
    from gan_course.networks import latent_dim_of
    from gan_course.runfiles import PIXELS
    from gan_course.session import draw_labels, draw_latents
    from gan_course.steps import generate
    from gan_course.storage import atomic_write

    if not 1 <= o.n <= MOST: raise InputError(f"--n has to be at least 1 and at most {MOST:,}, not {o.n}")
    if o.cols < 1: raise InputError(f"--cols has to be at least 1, not {o.cols}")
    run = run_of(o.run, o.model)
    wanted = classes_of(run, o.classes)
    if len(wanted) > 1: o.n = o.cols * len(wanted)
    out = o.out or Path(f"{run.path.name}-samples.png")
    one = out.suffix.lower() == ".png"
    check_place_of_samples(out, one)
    file = file_to_write(out) if one else out
    if one and o.n * (run.img_size + 2) ** 2 > PIXELS:
        raise InputError(f"{o.n:,} images of {run.img_size}×{run.img_size} are too many for one picture: "
                         "give --out the name of a folder")
    G = run.generator(as_weights(o.weights))
    z = draw_latents(o.n, latent_dim_of(G), o.seed)
    if len(wanted) > 1: z = z[:o.cols].repeat(len(wanted), 1)  # the same latents for each class, below each other
    labels = draw_labels(o.n, len(run.classes), o.seed, 8) if run.classes else None
    if wanted: labels = torch.tensor(wanted).repeat_interleave(o.n // len(wanted))

    def save(pixels, path):
        with atomic_write(path) as part: Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy()).save(part, "PNG")

    if one: save(image_grid(generate(G, z, labels=labels), min(o.cols, o.n)), file)
    else:
        out.mkdir(parents=True, exist_ok=True)
        batches = zip(*(x.split(1024) for x in (z, labels) if x is not None), strict=True)
        images = (image for z, *told in batches for image in generate(G, z, 64, *told))
        for i, image in enumerate(images): save(image, out / f"{i:05d}.png")
    say(f"{o.n} images of {run.path.name} in {out}")


def classes_of(run: Run, names: tuple[str, ...]) -> list[int]:
    """The numbers of the classes that were asked for."""
    from gan_course.core import InputError, choose

    if not names: return []
    if not run.classes:
        raise InputError(f"{run.path.name} was trained without labels and makes no class on demand: leave --class out, "
                         "or train with --labels")
    if names == ("all",): return list(range(len(run.classes)))
    return [run.classes.index(choose(name, run.classes, "class")) for name in names]


def check_place_of_samples(out: Path, one: bool) -> None:
    """A .png file, or a folder that is empty."""
    from gan_course.core import InputError
    from gan_course.imagefiles import SUFFIXES

    if one: return
    if out.suffix.lower() in SUFFIXES or out.is_file():
        raise InputError(f"--out is {out}: give the name of a .png file for one picture, or of a folder for many")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty: choose another folder with --out, so that old and new images do not mix")


def explain(args: list[str]) -> None:
    """`gan-course explain`."""
    o = options(ExplainOptions, "explain", args)
    from gan_course.core import InputError
    from gan_course.gradcam import explain
    from gan_course.storage import atomic_write

    if o.limit < 1 or o.rows < 1:
        raise InputError(f"--limit and --rows have to be at least 1, not {o.limit} and {o.rows}")
    run = run_of(o.run, o.model)
    out = o.out or Path(f"{run.path.name}-explain.png")
    if out.suffix.lower() != ".png": raise InputError(f"--out is {out}: give the name of a .png file")
    file = file_to_write(out)
    result = explain(run, o.images, o.layer or None, o.target, limit=o.limit, weights=as_weights(o.weights))
    try:
        with atomic_write(file) as part: result.figure(o.rows).savefig(part, format="png")
    finally: say(result)
    say(f"{min(o.rows, len(result.data))} images with their heat maps in {out}")


def export(args: list[str]) -> None:
    """`gan-course export`."""
    o = options(ExportOptions, "export", args)
    from gan_course.export import export_run

    run = run_of(o.run, o.model)
    out = export_run(run, o.out or Path(f"{run.path.name}-generator"), as_weights(o.weights), o.onnx)
    say(f"{', '.join(sorted(p.name for p in out.iterdir()))} in {out}")
