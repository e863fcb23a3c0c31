"""The command of the study of CIFAR-10: does what is missing of its trainings and scores, and keeps the results.

recipe   what slows SAGAN down on photographs: every line of the recipe, five epochs each (seven with two steps of D),
         FID and KID of 2,000 images of the generator's average: a quarter of an hour of one core each
scores   FIDs of the ready runs as they lie in the package, in float16: 50,000 images of the best generator, the first
         10,000 of them as a row of their own, 10,000 images of the generators of other epochs; against the 50,000
         training images. 10,000 images take about nine minutes on two cores, the training images half an hour once

`recipe` writes 21_cifar10_recipe.json, `scores` 21_cifar10_fid.json. A row that is there is not made again. What was
interrupted goes on: a training from its last epoch, a score from its last 10,000 images, whose statistics are kept in
the user's cache.
"""
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from tyro.conf import Positional

from gan_course.core import InputError, seeded
from gan_course.data import load_images
from gan_course.evaluation import compare, evaluate, gather, real_stats
from gan_course.fid import FeatureStats
from gan_course.runs import open_run, ready_run
from gan_course.settings import fingerprint
from gan_course.sources import Source, from_images
from gan_course.steps import generate
from gan_course.storage import data_root
from gan_course.training import train_or_open

from .cifar10 import RECIPE, config_of
from .common import StudyOptions, folder_name, in_processes, parsed, read_report, run_command, write_report

COMMAND = "python -m gan_course.studies.cifar10"


@dataclass
class Cifar10Options(StudyOptions):
    """What to do, and where."""

    runs: Path = Path("_runs/sagan-recipe")  # folder of the runs of `recipe`
    parts: Positional[tuple[Literal["recipe", "scores"], ...]] = ()  # one or both
    best: bool = False  # scores: only the best generator of each run
    only: tuple[str, ...] = ("cifar10-dcgan", "cifar10-sagan")  # scores: names of ready runs
    plain: Path | None = None  # scores: a run that is not packed; its generators themselves, not their averages
    epochs: tuple[int, ...] = (10, 50)  # scores: of the plain generators


@dataclass(frozen=True)
class Scale:
    """On which images the study is done, and how much of it."""

    data: str = "cifar10"
    extractor: str = "inception"
    first: str = "fid"  # what the two distances are called with this extractor
    second: str = "kid"
    n_recipe: int = 2000  # generated images to be measured
    few: int = 10_000
    many: int = 50_000
    limit: int | None = None  # training images; None: all
    smaller: dict = field(default_factory=dict)  # settings of the runs that are other ones
    lines: tuple[str, ...] = tuple(RECIPE)  # of the recipe


FULL = Scale()
TINY = Scale("toy-birds", "small", "frechet_distance", "kernel_distance", 80, 80, 160, 160,
             dict(data="toy-birds", limit=80, base_channels=8, epochs=1, batch_size=32, precision="float32"),
             tuple(name for name, variant in RECIPE.items() if not variant.settings))


def one_line(name: str, runs: Path, scale: Scale) -> dict:
    """One line of the recipe, trained and measured."""
    config = replace(config_of(name), **scale.smaller)
    how = {} if scale.limit is None else dict(test_images=load_images(scale.data, "test", limit=scale.limit))
    run = train_or_open(config, runs/folder_name(name), progress=False, **how)
    values = evaluate(run, n_fake=scale.n_recipe, extractor=scale.extractor, progress=False).values
    last = run.history[-1]
    row = dict(
        name=name, settings=RECIPE[name].settings, epochs=last["epoch"],
        fid=round(values[scale.first], 2), kid=round(values[scale.second], 4),
        d_acc_real=round(last["d_acc_real"], 3), d_acc_fake=round(last["d_acc_fake"], 3),
        seconds=round(sum(r["seconds"] for r in run.history)))
    print(row, flush=True)
    return row


def lines_done(rows: list[dict]) -> list[dict]:
    """The rows of the recipe as it stands: the same name, made with the same settings."""
    return [row for row in rows if row["name"] in RECIPE and row["settings"] == RECIPE[row["name"]].settings]


def recipe(o: Cifar10Options, scale: Scale) -> None:
    """Every line whose row is missing; the file is written after each."""
    file, order = o.out/"21_cifar10_recipe.json", list(RECIPE)
    rows = lines_done(read_report(file).get("rows", []))
    names = {row["name"] for row in rows}
    missing = [name for name in scale.lines if name not in names]
    n_real = scale.limit or 50_000
    for row in in_processes(functools.partial(one_line, runs=o.runs, scale=scale), missing, o.jobs):
        rows = sorted([*rows, row], key=lambda row: order.index(row["name"]))
        write_report(file, f"{COMMAND} recipe", o, n_fake=scale.n_recipe, n_real=n_real, rows=rows)
    print(f"{len(rows)} of {len(scale.lines)} lines in {file}")


def in_parts(name: str, G: nn.Module, n: int, scale: Scale) -> Iterator[FeatureStats]:
    """Statistics of the first part of the images that `gan-course evaluate` makes from seed 0, then of all n.

    Those of each part are kept as they are done."""
    assert isinstance(G.latent_dim, int)
    latents = torch.randn(n, G.latent_dim, generator=seeded(0, 7)).split(scale.few)  # as `from_generator` draws them
    weights = fingerprint(torch.cat([v.flatten().float() for v in G.state_dict().values()]))  # others, other images
    total = FeatureStats(scale.extractor, keep=scale.few)
    for i, z in enumerate(latents):
        file = data_root()/"cache"/f"{name}-{weights}-{i}.safetensors"
        if not file.exists():
            def batches(size, z=z): yield from (generate(G, part) for part in z.split(size))
            source = Source(f"{name}, part {i + 1} of {len(latents)}", len(z), batches, "32×32")
            file.parent.mkdir(parents=True, exist_ok=True)
            gather(source, scale.extractor, keep=scale.few if i == 0 else 0).save(file)
        total.merge(FeatureStats.load(file))
        if i in (0, len(latents) - 1):
            yield total


def score(name: str, epoch: int, G: nn.Module, n: int, o: Cifar10Options, scale: Scale) -> None:
    """The row of `n` images of G, and that of the first part of them."""
    def known(row): return row["run"], row["epoch"], row["n_fake"]
    file = o.out/"21_cifar10_fid.json"
    rows = read_report(file).get("rows", [])
    if {(name, epoch, scale.few), (name, epoch, n)} <= {known(row) for row in rows}:
        return
    images = load_images(scale.data, limit=scale.limit)
    real = gather(from_images(images), "small") if scale.extractor == "small" else real_stats(images, scale.extractor)
    for fake in in_parts(f"{name}-{epoch}", G, n, scale):
        values = {k: round(v, 6) for k, v in compare(fake, real).items()}
        row = dict(run=name, epoch=epoch, n_fake=fake.n, n_real=real.n) | values
        rows = [*(r for r in rows if known(r) != known(row)), row]
        rows.sort(key=lambda r: (r["run"], r["n_fake"], r["epoch"]))
        write_report(file, f"{COMMAND} scores", o, rows=rows)
        print(row, flush=True)


def scores(o: Cifar10Options, scale: Scale) -> None:
    """Every score that is missing."""
    if o.plain is not None:
        run = open_run(o.plain)
        for epoch in o.epochs:
            score(f"{run.path.name} plain", epoch, run.generator(epoch, ema=False), scale.few, o, scale)
        return
    for run in map(ready_run, ("toy-birds-dcgan",) if o.tiny else o.only):
        best = run.best_epoch or run.epochs[-1]
        for epoch in [best] if o.best else sorted(run.kept, reverse=True):
            score(run.path.name, epoch, run.generator(epoch), scale.many if epoch == best else scale.few, o, scale)


def main() -> None:
    """What the options ask for, one after the other."""
    o = parsed(Cifar10Options, COMMAND, __doc__)
    if not o.parts:
        raise InputError("say which parts: recipe, scores, or both")
    for part in o.parts:
        dict(recipe=recipe, scores=scores)[part](o, TINY if o.tiny else FULL)


def run_study() -> None:
    """The command `python -m gan_course.studies.cifar10`."""
    run_command(main)
