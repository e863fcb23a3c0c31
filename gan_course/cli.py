"""The command line: `gan-course train | sample | evaluate | explain | export | runs`.

Bad input gives one line on stderr and exit status 2. torch takes seconds to import: everything that needs it is
imported inside the commands, after the options are read, so that --help is quick.
"""
from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    from collections.abc import Callable

    from gan_course.core import ImageSet
    from gan_course.runs import Run
    from gan_course.settings import TrainConfig

HELP = """usage: gan-course COMMAND [options]

Train generative adversarial networks, look at what they make, measure it.

commands:
  train     train on images and write a run folder; --resume RUN goes on with one
  sample    new images from a run
  evaluate  FID, KID, precision and recall of a run, or of one folder of images against another
  explain   where the discriminator of a run looks: heat maps, and how much of the heat lies on the bird
  export    the generator of a run as a plain folder: weights, code that needs torch only, ONNX
  runs      the runs there are, a line each

gan-course COMMAND --help explains the options of a command; --version says which version this is.

  gan-course train --data toy-birds --epochs 5 --out _runs/first
  gan-course train --recipe cifar10-dcgan
  gan-course sample _runs/first --n 16 --out birds.png
  gan-course evaluate _runs/first
  gan-course explain _runs/first
  gan-course export _runs/first --out my-generator
"""


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
    model: str | None = None  # module:function, for a run of networks of your own


@dataclass
class EvaluateOptions:
    """FID, KID, precision, recall, density and coverage, with the protocol they were measured by."""

    fake: Positional[str]  # a run folder, the name of a ready run, or a folder of images
    real: Positional[str | None] = None
    """a folder of images, a data set, or statistics in pytorch-fid's .npz; by default what the run was trained on"""
    n_fake: int | None = None  # generated images; by default 10000 of a run, all of a folder
    n_real: int | None = None  # real images; by default all
    extractor: str = "inception"  # "inception" (FID), or "small": no download, a Fréchet distance that is no FID
    seed: int = 0  # of the latents
    weights: str | None = None  # of a run: "best", "last" or an epoch; by default the best, if known
    k: int = 5  # neighbours of precision, recall, density and coverage; Kynkäänniemi et al. take 3
    batch_size: int = 32
    json: Path | None = None  # write numbers and protocol to this file, too
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


@dataclass
class RunsOptions:
    """The runs in a folder, a line each, and the ready runs that come with the package."""

    folder: Positional[Path] = Path("_runs")  # where to look


def main(argv: list[str] | None = None) -> None:
    """Run a command; what is wrong with its input is said in one line, with exit status 2."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP, end="")
        sys.exit(0 if argv else 2)
    if argv[0] == "--version":
        from gan_course import __version__

        print(f"gan-course {__version__}")
        return
    commands = dict(train=train, sample=sample, evaluate=evaluate, explain=explain, export=export, runs=runs)
    try:
        if argv[0] not in commands:
            from gan_course.core import choose

            choose(argv[0], commands, "command")
        commands[argv[0]](argv[1:])
    except ValueError as e:
        from gan_course.core import InputError

        if not isinstance(e, InputError): raise
        fail(str(e))
    except OSError as e:
        fail(f"{e.strerror or e}: {e.filename}" if e.filename else str(e))


def fail(message: str) -> None:
    """Say what is wrong in one line and end with status 2."""
    if is_first(): print(f"gan-course: {plain(message)}", file=sys.stderr)
    sys.exit(2)


def is_first() -> bool:
    """False in the second and further processes of torchrun: what one has said the others need not say again."""
    return os.environ.get("RANK", "0") == "0"


def plain(text: str) -> str:
    """One line without control characters: names in a stranger's run may hold what moves a terminal's cursor."""
    return plain_columns(" ".join(str(text).split()))


def plain_columns(text: str) -> str:
    """`plain`, with the spaces kept."""
    return "".join(c if c.isprintable() else "?" for c in text)


@contextlib.contextmanager
def silence():
    """Nothing of what is printed is seen."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def as_weights(text: str | None) -> str | int | None:
    """An epoch as a number; "best", "last" and None as they are."""
    return int(text) if text and text.isdecimal() else text


def run_of(name: str, model: str | None) -> Run:
    """A run by its folder or name, its own networks imported from where the user says."""
    from gan_course.networks import register_named
    from gan_course.runs import open_run

    if model: register_named(model)
    return open_run(name)


# ---- train


def train(args: list[str]) -> None:
    """`gan-course train`."""
    import dataclasses

    import tyro

    from gan_course.core import InputError
    from gan_course.processes import on_main_process, world_size
    from gan_course.settings import TrainConfig, check_config
    from gan_course.training import Stopped

    hide_full_disk_in_threads()

    @dataclass
    class TrainOptions(TrainConfig):
        out: Path | None = None  # the run folder to make; by default _runs/DATA-MODEL
        recipe: str | None = None
        """begin with the settings of a run that was done, such as cifar10-sagan; other options change them"""
        resume: Path | None = None
        """go on with this run, measured as before; only --epochs and --fid-every can be given with it"""
        fid_every: int = 0  # measure FID and KID every so many epochs, and after the last; 0: never
        n_fake: int = 10_000  # generated images of each measurement; against all training images
        extractor: str = "inception"  # "small" needs no download; its numbers go to frechet-small.csv

    known, name = find_option(args, "--resume"), find_option(args, "--recipe")  # both bring their own defaults
    if known and name: raise InputError("--recipe begins a run and --resume goes on with one: give one of the two")
    stored = recipe_options(name) if name else on_main_process(lambda: stored_options(known)) if known else {}
    with contextlib.nullcontext() if is_first() else silence():
        options = tyro.cli(
            TrainOptions, prog="gan-course train", args=args, default=TrainOptions(**stored),
            description="Train a GAN on images and write a run folder: weights, samples of every epoch, history, "
                        "TensorBoard events.")
    given = dataclasses.asdict(options)
    config = TrainConfig(**{f.name: given[f.name] for f in dataclasses.fields(TrainConfig)})
    own = find_option(args, "--model")  # what the user typed: a name in a config is never imported
    try: run = go_on(options, given, stored, own) if options.resume else begin(options, check_config(config))
    except Stopped as e:
        if is_first():
            print(f"\nstopped after {e.epoch} complete epochs; go on with: gan-course train --resume {e.path}",
                  file=sys.stderr)
        sys.exit(130)
    if is_first():
        print(f"{run.config.epochs} epochs done. The run is in {run.path}: samples/, checkpoints/, history.csv; "
              f"curves: tensorboard --logdir {run.path}")
    if world_size() != 1:
        import torch

        torch.distributed.destroy_process_group()


def begin(options, config: TrainConfig) -> Run:
    """A new run. What would stop it is said before the real images are measured."""
    from gan_course.data import load_images
    from gan_course.networks import register_named
    from gan_course.processes import on_main_process
    from gan_course.runs import new_place
    from gan_course.settings import with_defaults
    from gan_course.training import train

    if ":" in config.model: register_named(config.model)
    with_defaults(config)
    on_main_process(lambda: new_place(config, options.out))

    def real():
        return load_images(config.data, "train", size=config.size, crop=config.crop, limit=config.limit)

    return train(config, options.out, on_epoch_end=hooks_of(options, real))


def go_on(options, given: dict, stored: dict, own: str | None) -> Run:
    """The rest of a run, which keeps its settings; `stored` are those it has, `own` its networks as typed."""
    from gan_course.core import InputError
    from gan_course.networks import register_named
    from gan_course.runs import open_run
    from gan_course.training import resume

    free = ("epochs", "resume", "fid_every")
    changed = [k for k, v in given.items() if k not in free and k in stored and stored[k] != v]
    if options.out is not None: changed.append("out")
    if changed:
        names = ", ".join(f"--{k.replace('_', '-')}" for k in changed)
        raise InputError(f"{names} cannot be given with --resume: a run keeps its settings; only --epochs can grow")
    if own and ":" in own: register_named(own)
    hooks = hooks_of(options, lambda: open_run(options.resume).images())
    return resume(options.resume, options.epochs, on_epoch_end=hooks)


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

    held_out, fid = "", ""
    if row.get("d_acc_real_test") is not None: held_out = f" (held out {row['d_acc_real_test']:.0%})"
    if row.get("fid") is not None: fid += f"  FID {row['fid']:.2f}"
    if row.get("kid") is not None: fid += f" KID {row['kid']:.2e}"
    if fid: fid += f" ({protocol(training.run)})"
    tqdm.write(f"epoch {row['epoch']:3d}  D loss {row['d_loss_real']:.3f} real {row['d_loss_fake']:.3f} fake  "
               f"G loss {row['g_loss']:.3f}  D right on {row['d_acc_real']:.0%} real{held_out}, "
               f"{row['d_acc_fake']:.0%} fake  {row['seconds']:.0f} s{fid}")


# ---- sample, evaluate, explain, export


def sample(args: list[str]) -> None:
    """`gan-course sample`."""
    import tyro

    o = tyro.cli(SampleOptions, prog="gan-course sample", args=args)
    from PIL import Image

    from gan_course.core import InputError, image_grid
    from gan_course.networks import latent_dim_of
    from gan_course.session import draw_latents
    from gan_course.steps import generate

    if o.n < 1 or o.cols < 1: raise InputError(f"--n and --cols have to be at least 1, not {o.n} and {o.cols}")
    run = run_of(o.run, o.model)
    out = o.out or Path(f"{run.path.name}-samples.png")
    one = out.suffix.lower() == ".png"
    check_place_of_samples(out, one)
    G = run.generator(as_weights(o.weights))
    images = generate(G, draw_latents(o.n, latent_dim_of(G), o.seed))

    def save(pixels, path):
        Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy()).save(path)

    if one:
        out.parent.mkdir(parents=True, exist_ok=True)
        save(image_grid(images, min(o.cols, o.n)), out)
    else:
        out.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images): save(image, out / f"{i:05d}.png")
    print(f"{o.n} images of {plain(run.path.name)} in {out}")


def check_place_of_samples(out: Path, one: bool) -> None:
    """A .png file, or a folder that is empty."""
    from gan_course.core import InputError
    from gan_course.imagefiles import SUFFIXES

    if one: return
    if out.suffix.lower() in SUFFIXES or out.is_file():
        raise InputError(f"--out is {out}: give the name of a .png file for one picture, or of a folder for many")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty: choose another folder with --out, so that old and new images do not mix")


def evaluate(args: list[str]) -> None:
    """`gan-course evaluate`."""
    import tyro

    o = tyro.cli(EvaluateOptions, prog="gan-course evaluate", args=args)
    from gan_course.data import is_folder
    from gan_course.evaluation import evaluate

    folder = is_folder(o.fake) and not (Path(o.fake) / "config.json").exists()
    fake = o.fake if folder else run_of(o.fake, o.model)
    n_fake = 10_000 if o.n_fake is None and not folder else o.n_fake
    result = evaluate(fake, o.real, n_fake=n_fake, n_real=o.n_real, extractor=o.extractor, seed=o.seed,
                      batch_size=o.batch_size, weights=as_weights(o.weights), k=o.k)
    print(result)
    if o.json:
        result.to_json(o.json)
        print(f"written to {o.json}")


def explain(args: list[str]) -> None:
    """`gan-course explain`."""
    import tyro

    o = tyro.cli(ExplainOptions, prog="gan-course explain", args=args)
    from gan_course.core import InputError
    from gan_course.gradcam import explain

    if o.limit < 1 or o.rows < 1:
        raise InputError(f"--limit and --rows have to be at least 1, not {o.limit} and {o.rows}")
    run = run_of(o.run, o.model)
    out = o.out or Path(f"{run.path.name}-explain.png")
    if out.suffix.lower() != ".png": raise InputError(f"--out is {out}: give the name of a .png file")
    result = explain(run, o.images, o.layer or None, o.target, limit=o.limit, weights=as_weights(o.weights))
    print(result)
    out.parent.mkdir(parents=True, exist_ok=True)
    result.figure(o.rows).savefig(out)
    print(f"{min(o.rows, len(result.data))} images with their heat maps in {out}")


def export(args: list[str]) -> None:
    """`gan-course export`."""
    import tyro

    o = tyro.cli(ExportOptions, prog="gan-course export", args=args)
    from gan_course.export import export_run

    run = run_of(o.run, o.model)
    out = export_run(run, o.out or Path(f"{run.path.name}-generator"), as_weights(o.weights), o.onnx)
    print(f"{', '.join(sorted(p.name for p in out.iterdir()))} in {out}")


# ---- runs


def runs(args: list[str]) -> None:
    """`gan-course runs`."""
    import tyro

    o = tyro.cli(RunsOptions, prog="gan-course runs", args=args)
    from gan_course.core import InputError
    from gan_course.runs import open_run, ready_folder

    if not o.folder.is_dir() and o.folder != RunsOptions.folder: raise InputError(f"there is no folder {o.folder}")
    print(f"{'run':32} {'data':14} {'model':8} {'size':>5} {'epochs':>8} {'images':>11} {'G loss':>7}  best FID")
    for place in (o.folder, ready_folder()):
        for config in sorted(place.glob("*/config.json")):
            try: print(run_line(open_run(config.parent), place == o.folder))
            except InputError as e: print(plain(f"{config.parent.name:32} {e}"))


def run_line(run: Run, own: bool) -> str:
    """A line about a run."""
    last = run.history[-1] if run.history else {}
    loss, images = last.get("g_loss"), last.get("images") or 0
    name = str(run.path) if own else f"{run.path.name} (ready)"
    epochs = f"{last.get('epoch', 0):>3}/{run.config.epochs:<4}"
    return plain_columns(f"{name:32} {run.info['data']['name']:14} {run.config.model:8} {run.img_size:>5} {epochs} "
                         f"{images:>11,} {'-' if loss is None else f'{loss:.3f}':>7}  {best_fid(run)}")


def best_fid(run: Run) -> str:
    """The least FID of the history with its protocol: FID 42.1 (10k generated, 50k real train, inception; epoch 12)."""
    measured = [(row["fid"], row["epoch"]) for row in run.history if row["fid"] is not None]
    if not measured: return "-"
    fid, epoch = min(measured)
    return f"FID {fid:.1f} ({protocol(run)}; epoch {epoch})"


def protocol(run: Run) -> str:
    """How the FIDs of a run are measured, in short."""
    p = run.info.get("fid") or {}
    if not {"n_fake", "n_real", "split", "extractor"} <= set(p): return "protocol not recorded"
    return f"{short(p['n_fake'])} generated, {short(p['n_real'])} real {p['split'] or 'images'}, {p['extractor']}"


def short(n: int) -> str:
    """50000 → 50k."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
