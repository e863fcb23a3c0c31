"""`gan-course train`."""
from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gan_course.cli._runs import protocol
from gan_course.cli._surroundings import discard_output, flush, options, say, silence

if TYPE_CHECKING:
    from collections.abc import Callable

    from gan_course.core import ImageSet
    from gan_course.runs import Run
    from gan_course.settings import TrainConfig


def train(args: list[str]) -> None:
    """`gan-course train`."""
    import dataclasses

    from gan_course.core import InputError
    from gan_course.guards import in_one_line
    from gan_course.processes import is_first, on_main_process, world_size
    from gan_course.settings import TrainConfig, check_config
    from gan_course.training import Stopped

    hide_full_disk_in_threads()

    @dataclass
    class TrainOptions(TrainConfig):
        out: Path | None = None  # the run folder to make; by default _runs/DATA-MODEL
        recipe: str | None = None
        """begin with the settings of a run that was done, such as cifar10-sagan; other options change them"""
        resume: Path | None = None
        """go on with this run, measured as before; with --epochs, --fid-every, and --data if its images were moved"""
        time: str | None = None
        """begin no epoch that would end later, such as 90s, 10m or 2h from now; --epochs is the most"""
        fid_every: int = 0  # measure FID and KID every so many epochs, and after the last; 0: never
        n_fake: int = 10_000  # generated images of each measurement; against all training images
        extractor: str = "inception"  # "small" needs no download; its numbers go to frechet-small.csv

    known, name = find_option(args, "--resume"), find_option(args, "--recipe")  # both bring their own defaults
    if known and name: raise InputError("--recipe begins a run and --resume goes on with one: give one of the two")
    stored = recipe_options(name) if name else on_main_process(lambda: stored_options(known)) if known else {}
    with contextlib.nullcontext() if is_first() else silence():
        chosen = options(
            TrainOptions, "train", args, default=TrainOptions(**stored),
            description="Train a GAN on images and write a run folder: weights, samples of every epoch, history, "
                        "TensorBoard events.")
    given = dataclasses.asdict(chosen)
    config = TrainConfig(**{f.name: given[f.name] for f in dataclasses.fields(TrainConfig)})
    own = find_option(args, "--model")  # what the user typed: a name in a config is never imported
    try: run = go_on(chosen, given, stored, own) if chosen.resume else begin(chosen, check_config(config))
    except Stopped as e:
        if is_first():
            again = f"gan-course train --resume {shlex.quote(str(e.path))}"
            print(in_one_line(f"stopped after {e.epoch} complete epochs; go on with: {again}"), file=sys.stderr)
        sys.exit(130)
    if is_first():
        say(f"{run.config.epochs} epochs done. The run is in {run.path}: samples/, checkpoints/, history.csv; "
            f"curves: tensorboard --logdir {shlex.quote(str(run.path))}")
    if world_size() != 1:
        import torch

        torch.distributed.destroy_process_group()


def begin(options, config: TrainConfig) -> Run:
    """A new run. What would stop it is said before the real images are measured."""
    from gan_course.data import load_images
    from gan_course.networks import register_named
    from gan_course.processes import on_main_process
    from gan_course.runs import new_place
    from gan_course.settings import data_options, with_defaults
    from gan_course.training import train

    if ":" in config.model: register_named(config.model)
    with_defaults(config)
    on_main_process(lambda: new_place(config, options.out))

    def real():
        return load_images(config.data or "", "train", **data_options(config))

    return train(config, options.out, on_epoch_end=hooks_of(options, real), seconds=seconds_of(options.time))


def go_on(options, given: dict, stored: dict, own: str | None) -> Run:
    """The rest of a run, which keeps its settings; `stored` are those it has, `own` its networks as typed."""
    import dataclasses

    from gan_course.core import InputError
    from gan_course.networks import register_named
    from gan_course.runs import open_run
    from gan_course.training import resume

    free = ("epochs", "resume", "fid_every", "data", "time")
    changed = [k for k, v in given.items() if k not in free and k in stored and stored[k] != v]
    if options.out is not None: changed.append("out")
    if changed:
        names = ", ".join(f"--{k.replace('_', '-')}" for k in changed)
        raise InputError(f"{names} cannot be given with --resume: a run keeps its settings; only --epochs can grow, "
                         "and --data say where its images lie by now")
    if own and ":" in own: register_named(own)
    moved = given["data"] if given["data"] != stored["data"] else None

    def real():
        run = open_run(options.resume)
        if moved: run.config = dataclasses.replace(run.config, data=moved)
        return run.images()

    return resume(options.resume, options.epochs, on_epoch_end=hooks_of(options, real), data=moved,
                  seconds=seconds_of(options.time))


def seconds_of(text: str | None) -> float:
    """How long "90s", "10m" or "1.5h" is."""
    import math
    import re

    from gan_course.core import InputError

    if text is None: return math.inf
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found or not float(found[1]):
        raise InputError(f"--time is {text!r:.40}: give a number with its unit, such as 90s, 10m or 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def hide_full_disk_in_threads() -> None:
    """TensorBoard writes in a thread; its full disk is met again, and said, where we write."""
    import threading

    tell = threading.excepthook

    def quiet(args):
        if not issubclass(args.exc_type, OSError): tell(args)
    threading.excepthook = quiet


def find_option(args: list[str], name: str) -> str | None:
    """The value of an option that brings defaults for all others, so that it is wanted before they are read."""
    for i, arg in enumerate(args):
        if arg.startswith(f"{name}="): return arg.partition("=")[2]
        if arg == name and i + 1 < len(args): return args[i + 1]
    return None


def stored_options(path: str) -> dict:
    """The settings of a run, and how its FID is measured, as defaults of `gan-course train --resume`."""
    import dataclasses

    from gan_course.runs import open_run

    run = open_run(path)
    return dataclasses.asdict(run.config) | fid_options(run.info.get("fid", {}))


def recipe_options(name: str) -> dict:
    """The same of a recipe, for `gan-course train --recipe`."""
    from gan_course.settings import read_recipe

    recipe = read_recipe(name)
    return recipe["train"] | fid_options(recipe.get("fid", {}))


def fid_options(protocol: dict) -> dict:
    """How the FID is measured, by the names of the options."""
    names = {"every": "fid_every", "n_fake": "n_fake", "extractor": "extractor"}
    return {names[k]: v for k, v in protocol.items() if k in names}


def hooks_of(options, load_real: Callable[[], ImageSet]) -> list:
    """What is done after each epoch: measure against the real images, if asked for, and print a line."""
    from gan_course.core import InputError
    from gan_course.processes import on_main_process

    if options.fid_every < 0: raise InputError(f"fid_every has to be at least 0, not {options.fid_every}")
    if not options.fid_every: return [print_row]

    def measure():
        from gan_course.evaluation import fid_hook

        return fid_hook(load_real(), options.fid_every, options.n_fake, options.extractor)

    hook = on_main_process(measure, send=False)  # the other processes only wait for it
    return [hook, print_row] if hook else [print_row]


def print_row(training, row: dict) -> None:
    """A line for an epoch."""
    from tqdm.auto import tqdm

    from gan_course.guards import printable

    held_out, fid = "", ""
    if row.get("d_acc_real_test") is not None: held_out = f" (held out {row['d_acc_real_test']:.0%})"
    if row.get("fid") is not None: fid += f"  FID {row['fid']:.2f}"
    if row.get("kid") is not None: fid += f" KID {row['kid']:.2e}"
    if fid: fid += f" ({protocol(training.run)})"
    line = (f"epoch {row['epoch']:3d}  D loss {row['d_loss_real']:.3f} real {row['d_loss_fake']:.3f} fake  "
            f"G loss {row['g_loss']:.3f}  D right on {row['d_acc_real']:.0%} real{held_out}, "
            f"{row['d_acc_fake']:.0%} fake  {row['seconds']:.0f} s{fid}")
    try:
        tqdm.write(printable(line))
        flush()
    except OSError as e:  # this epoch is not on the disk yet: nobody reads, but the training goes on
        discard_output()
        if isinstance(e, BrokenPipeError): return
        print(f"gan-course: nothing more is printed ({e.strerror or e}); the training goes on", file=sys.stderr)
