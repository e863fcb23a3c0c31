"""The command of the study of DCGAN's rules: each left out once, on toy birds, with the same budget and the same seeds.

The same seed means the same birds in the same order and the same latents. As it stands it takes about 16 minutes of one
core. Numbers go to 22_rules.json, pictures (seed 0, the same latents in every row) to 22_rules.png; those of another
learning rate to files of their own, such as 22_rules_lr0.0002.json. Run folders are kept: a study that was stopped goes
on where it stopped, and more seeds are added to those that are there. Results that were made with the same settings are
not made again; with others than another rate, give --out another place.
"""
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from gan_course.core import ImageSet, InputError, choose, image_grid, progress_bar
from gan_course.runs import Run, open_run
from gan_course.settings import TrainConfig
from gan_course.storage import atomic_write
from gan_course.toybirds import toy_birds
from gan_course.training import Diverged, train_or_open

from .common import StudyOptions, parsed, read_report, run_command, write_report
from .rules import VARIANTS, judged, summary

COMMAND = "python -m gan_course.studies.rules"
COLS = 12  # pictures in a row


@dataclass
class RulesOptions(StudyOptions):
    """How much is trained, and where."""

    runs: Path = Path("_runs/dcgan_rules")  # folder of the runs
    jobs: int = 1  # not used: the runs are done one after the other
    seeds: int = 3  # runs of each variant
    epochs: int = 16
    n: int = 2000  # toy birds to train on
    n_fake: int = 2000  # images judged of each run
    base_channels: int = 32
    batch_size: int = 64
    lr: float = 1e-3  # of both players
    precision: str = "float32"
    only: tuple[str, ...] = tuple(VARIANTS)  # variants


def settings_of(o: RulesOptions) -> dict:
    """What results have to share to stand in one table."""
    trained = dict(epochs=o.epochs, base_channels=o.base_channels, batch_size=o.batch_size,
                   lr_g=o.lr, lr_d=o.lr, ema=.99, precision=o.precision)
    return trained | dict(n=o.n, n_fake=o.n_fake, cols=COLS, beta1=.5)


def name_of(o: RulesOptions) -> str:
    """Of the files of results."""
    return "22_rules" + (f"_lr{o.lr:g}" if o.lr != RulesOptions.lr else "")


def config_of(name: str, seed: int, o: RulesOptions) -> TrainConfig:
    """What `train` needs for one run."""
    config = TrainConfig(
        data="toy-birds", model=f"rules-{name}", loss="bce", seed=seed, samples=COLS, epochs=o.epochs,
        base_channels=o.base_channels, batch_size=o.batch_size, lr_g=o.lr, lr_d=o.lr, ema=.99, precision=o.precision)
    return replace(config, **VARIANTS[name].train)


def one_run(config: TrainConfig, path: Path, birds: ImageSet, bar) -> tuple[Run, bool]:
    """Train (or go on, or find it done): the run, and whether it diverged."""
    before = bar.n
    bar.set_description(path.name)
    def step(training, row): bar.update()
    try:
        return train_or_open(config, path, images=birds, on_epoch_end=[step], progress=False), False
    except Diverged:
        return open_run(path), True
    finally:
        bar.update(before + config.epochs - bar.n)


def results_there(file: Path, settings: dict) -> dict[str, dict[str, dict]]:
    """Variant → seed → numbers, of the file if it was made with these settings."""
    report = read_report(file)
    if {k: v for k, v in report.get("settings", {}).items() if k != "seeds"} != settings:
        if report:
            raise InputError(f"{file} was made with other settings: give --out another place")
        return {}
    return {name: dict(variant["runs"]) for name, variant in report.get("variants", {}).items()}


def write_results(file: Path, settings: dict, results: dict, o: RulesOptions) -> None:
    """The numbers of all variants, in their order."""
    variants = {name: dict(rule=variant.rule, instead=variant.instead, runs=results[name])
                for name, variant in VARIANTS.items() if name in results}
    seeds = max(len(runs) for runs in results.values())
    write_report(file, COMMAND, o, settings=settings | dict(seeds=seeds), variants=variants)


def draw(folder: Path, file: Path, names: list[str]) -> None:
    """Samples of seed 0 of these variants, if all are on the disk."""
    paths = [folder/f"{name}-0" for name in names]
    if not all(path.exists() for path in paths):
        return
    runs = [open_run(path) for path in paths]
    grid = image_grid(torch.cat([run.samples(run.epochs[-1]) for run in runs]), COLS)
    with atomic_write(file) as part:
        Image.fromarray(grid.permute(1, 2, 0).numpy()).save(part, "PNG", optimize=True)


def main() -> None:
    """What is missing, and the table of all."""
    o = parsed(RulesOptions, COMMAND, __doc__)
    for name in o.only:
        choose(name, VARIANTS, "variant")
    if o.tiny:
        o = replace(o, seeds=1, epochs=1, n=64, n_fake=100, base_channels=8, batch_size=32)
    file, settings = o.out/f"{name_of(o)}.json", settings_of(o)
    folder = o.runs/f"n{o.n}-e{o.epochs}-c{o.base_channels}-b{o.batch_size}-lr{o.lr:g}-{o.precision}"
    results = results_there(file, settings)
    missing = [(seed, name) for seed in range(o.seeds) for name in o.only if str(seed) not in results.get(name, {})]
    birds, real = toy_birds(o.n, 0), toy_birds(o.n_fake, 1)
    with progress_bar(total=len(missing) * o.epochs, unit="epoch", smoothing=.05) as bar:
        for seed, name in missing:
            run, diverged = one_run(config_of(name, seed, o), folder/f"{name}-{seed}", birds, bar)
            found = judged(run, diverged, real)
            results.setdefault(name, {})[str(seed)] = found
            numbers = [f"{k} {v:.3f}" for k, v in found.items() if isinstance(v, float)]
            bar.write(f"{name:10} {seed}  " + "  ".join(numbers))
            write_results(file, settings, results, o)
    if missing:
        draw(folder, file.with_suffix(".png"), [name for name in VARIANTS if name in results])
    print(f"{o.n} birds, {o.epochs} epochs, {o.base_channels} channels\n{summary(results)}\nin {file}")


def run_study() -> None:
    """The command `python -m gan_course.studies.rules`."""
    run_command(main)
