"""The command line: `gan-course train | sample | evaluate | explain | runs`. Bad input gives one line on stderr and exit status 2."""
from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

# torch takes seconds to import: everything that needs it is imported inside the commands, after the options are read, so that --help is quick
HELP = """usage: gan-course COMMAND [options]

Train generative adversarial networks, look at what they make, measure it.

commands:
  train     train on images and write a run folder; --resume RUN goes on with one
  sample    new images from a run
  evaluate  FID, KID, precision and recall of a run, or of one folder of images against another
  explain   where the discriminator of a run looks: heat maps, and how much of the heat lies on the bird
  runs      the runs there are, a line each

gan-course COMMAND --help explains the options of a command; --version says which version this is.

  gan-course train --data toy-birds --epochs 5 --out _runs/first
  gan-course train --recipe cifar10-dcgan
  gan-course sample _runs/first --n 16 --out birds.png
  gan-course evaluate _runs/first
  gan-course explain _runs/first
"""



@dataclass
class SampleOptions:
    """New images from a run: one picture with all of them, or a folder with one file each."""

    run: Positional[str]  # a run folder, or the name of a ready run such as toy-birds-dcgan
    out: Path | None = None  # a .png file for one picture, or a folder for single images; by default RUN-samples.png here
    n: int = 64  # how many images
    seed: int = 0  # of the latents
    weights: str | None = None  # "last", "best" or an epoch; by default the best, if its FID was measured, otherwise the last
    cols: int = 8  # images a row


@dataclass
class EvaluateOptions:
    """FID, KID, precision, recall, density and coverage, with the protocol they were measured by."""

    fake: Positional[str]  # a run folder, the name of a ready run, or a folder of images
    real: Positional[str | None] = None  # a folder of images or a data set; by default what the run was trained on
    n_fake: int | None = None  # generated images; by default 10000 of a run, all of a folder
    n_real: int | None = None  # real images; by default all
    extractor: str = "inception"  # "inception" (FID), or "small": no download, a Fréchet distance that is no FID
    seed: int = 0  # of the latents
    weights: str | None = None  # of a run: "best", "last" or an epoch; by default the best, if known
    k: int = 5  # neighbours of precision, recall, density and coverage; Kynkäänniemi et al. take 3
    batch_size: int = 32
    json: Path | None = None  # write numbers and protocol to this file, too


@dataclass
class ExplainOptions:
    """Where the discriminator of a run looks: Grad-CAM and Grad-CAM++ as a picture, and the share of the heat that lies on the bird."""

    run: Positional[str]  # a run folder, or the name of a ready run such as toy-birds-dcgan
    images: str | None = None  # a folder of images, a data set, or "samples"; by default held-out images of the run's data, else its samples
    layer: tuple[str, ...] = ()  # one or several layers; by default the last one of each resolution
    target: str = "fake"  # the verdict that is explained: "fake" or "real"
    out: Path | None = None  # the .png file to write; by default RUN-explain.png here
    n: int = 1000  # at most so many images for the numbers
    rows: int = 6  # images in the picture
    weights: str | None = None  # "last", "best" or an epoch; by default the best, if its FID was measured, otherwise the last


@dataclass
class RunsOptions:
    """The runs in a folder, a line each, and the ready runs that come with the package."""

    folder: Positional[Path] = Path("_runs")  # where to look


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP, end="")
        sys.exit(0 if argv else 2)
    if argv[0] == "--version":
        from gan_course import __version__

        print(f"gan-course {__version__}")
        return
    commands = {"train": train, "sample": sample, "evaluate": evaluate, "explain": explain, "runs": runs}
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
    if is_first(): print(f"gan-course: {plain(message)}", file=sys.stderr)
    sys.exit(2)


def is_first() -> bool:
    """False in the second and further processes that torchrun has started: what one has said the others need not say again."""
    return os.environ.get("RANK", "0") == "0"


def plain(text: str) -> str:
    """One line without control characters: names in a stranger's run may hold what moves a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def train(args: list[str]) -> None:
    import dataclasses
    import threading

    import tyro

    from gan_course import train as t

    def quiet(args, tell=threading.excepthook):  # TensorBoard writes in a thread; its full disk is met again, and said, where we write
        if not issubclass(args.exc_type, OSError): tell(args)
    threading.excepthook = quiet

    @dataclass
    class TrainOptions(t.TrainConfig):
        out: Path | None = None  # the run folder to make; by default _runs/DATA-MODEL
        recipe: str | None = None  # begin with the settings of a run that was done, such as cifar10-sagan; other options change them
        resume: Path | None = None  # go on with this run, measured as before; only --epochs and --fid-every can be given with it
        fid_every: int = 0  # measure FID and KID every so many epochs, and after the last; 0: never
        fid_images: int = 10_000  # generated images of each measurement; against all training images
        extractor: str = "inception"  # "small" needs no download; its numbers go to frechet-small.csv

    known, name = find_option(args, "--resume"), find_option(args, "--recipe")  # both bring their own defaults
    if known and name: raise t.InputError("--recipe begins a run and --resume goes on with one: give one of the two")
    stored = recipe_options(name) if name else t.from_first(lambda: stored_options(t.open_run(known))) if known else {}
    with contextlib.nullcontext() if is_first() else silence():
        options = tyro.cli(TrainOptions, prog="gan-course train", args=args, default=TrainOptions(**stored),
                           description="Train a GAN on images and write a run folder: weights, samples of every epoch, history, TensorBoard events.")
    given = dataclasses.asdict(options)
    if options.resume:
        changed = [f"--{k.replace('_', '-')}" for k, v in given.items() if k not in ("epochs", "resume", "fid_every") and k in stored and stored[k] != v]
        changed += ["--out"] * (options.out is not None)
        if changed: raise t.InputError(f"{', '.join(changed)} cannot be given with --resume: a run keeps its settings; only --epochs can grow")
    out, _, resume, every, n_fake, extractor = (given.pop(k) for k in ("out", "recipe", "resume", "fid_every", "fid_images", "extractor"))
    if every < 0: raise t.InputError(f"fid_every has to be at least 0, not {every}")
    config = t.check_config(t.TrainConfig(**given))
    if every and not resume:  # what would stop the run is said before the real images are measured
        t.with_defaults(config)
        out = t.from_first(lambda: t._new_place(config, out))
    measure = t.from_first(lambda: make_fid_hook(config, every, n_fake, extractor), send=False) if every else None
    hooks = [hook for hook in (measure, print_row) if hook]
    try: run = t.resume(resume, given["epochs"], on_epoch_end=hooks) if resume else t.train(config, out, on_epoch_end=hooks)
    except t.Stopped as e:
        if is_first(): print(f"\nstopped after {e.epoch} complete epochs; go on with: gan-course train --resume {e.path}", file=sys.stderr)
        sys.exit(130)
    if is_first(): print(f"{run.config.epochs} epochs done. The run is in {run.path}: samples/, checkpoints/, history.csv; curves: tensorboard --logdir {run.path}")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        import torch

        torch.distributed.destroy_process_group()


def stored_options(run) -> dict:
    """The settings of a run, and how its FID is measured, as defaults of `gan-course train --resume`."""
    import dataclasses

    return dataclasses.asdict(run.config) | fid_options(run.info.get("fid", {}))


def recipe_options(name: str) -> dict:
    """The same of a recipe, for `gan-course train --recipe`."""
    from gan_course.train import read_recipe

    recipe = read_recipe(name)
    return recipe["train"] | fid_options(recipe.get("fid", {}))


def fid_options(protocol: dict) -> dict:
    names = {"every": "fid_every", "n_fake": "fid_images", "extractor": "extractor"}
    return {names[k]: v for k, v in protocol.items() if k in names}


@contextlib.contextmanager
def silence():
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere): yield


def make_fid_hook(config, every: int, n_fake: int, extractor: str):
    from gan_course.data import load_images
    from gan_course.fid import fid_hook

    return fid_hook(load_images(config.data, "train", size=config.size, crop=config.crop, limit=config.limit), every, n_fake, extractor)


def find_option(args: list[str], name: str) -> str | None:
    for i, arg in enumerate(args):
        if arg.startswith(f"{name}="): return arg.partition("=")[2]
        if arg == name and i + 1 < len(args): return args[i + 1]
    return None


def print_row(training, row) -> None:
    from tqdm.auto import tqdm

    test = f" (held out {row['d_acc_real_test']:.0%})" if row.get("d_acc_real_test") is not None else ""
    fid = f"  FID {row['fid']:.2f}" if row.get("fid") is not None else ""
    if row.get("kid") is not None: fid += f" KID {row['kid']:.2e}"
    if fid: fid += f" ({protocol(training.run)})"
    tqdm.write(f"epoch {row['epoch']:3d}  D loss {row['d_loss_real']:.3f} real {row['d_loss_fake']:.3f} fake  G loss {row['g_loss']:.3f}  "
               f"D right on {row['d_acc_real']:.0%} real{test}, {row['d_acc_fake']:.0%} fake  {row['seconds']:.0f} s{fid}")


def find_run(name: str):
    """A run folder, or else a ready run by its name."""
    from gan_course.train import open_run, ready_run

    return open_run(name) if Path(name).exists() or Path(name).name != name else ready_run(name)


def sample(args: list[str]) -> None:
    import tyro

    o = tyro.cli(SampleOptions, prog="gan-course sample", args=args)
    import torch
    from PIL import Image

    from gan_course.core import InputError, image_grid, seeded
    from gan_course.data import SUFFIXES
    from gan_course.train import generate

    if o.n < 1 or o.cols < 1: raise InputError(f"--n and --cols have to be at least 1, not {o.n} and {o.cols}")
    run = find_run(o.run)
    out = o.out or Path(f"{run.path.name}-samples.png")
    one = out.suffix.lower() == ".png"
    if not one and (out.suffix.lower() in SUFFIXES or out.is_file()): raise InputError(f"--out is {out}: give the name of a .png file for one picture, or of a folder for single images")
    if not one and out.is_dir() and any(out.iterdir()): raise InputError(f"{out} is not empty: choose another folder with --out, so that old and new images do not mix")
    G = run.generator(as_weights(o.weights))
    images = generate(G, torch.randn(o.n, G.latent_dim, generator=seeded(o.seed)))

    def save(pixels, path):
        Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy()).save(path)

    if one:
        out.parent.mkdir(parents=True, exist_ok=True)
        save(image_grid(images, min(o.cols, o.n)), out)
    else:
        out.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images): save(image, out / f"{i:05d}.png")
    print(f"{o.n} images of {run.path.name} in {out}")


def evaluate(args: list[str]) -> None:
    import tyro

    o = tyro.cli(EvaluateOptions, prog="gan-course evaluate", args=args)
    from gan_course.data import is_folder
    from gan_course.fid import evaluate

    folder = is_folder(o.fake) and not (Path(o.fake) / "config.json").exists()
    result = evaluate(o.fake if folder else find_run(o.fake), o.real, n_fake=10_000 if o.n_fake is None and not folder else o.n_fake, n_real=o.n_real,
                      extractor=o.extractor, seed=o.seed, batch_size=o.batch_size, weights=as_weights(o.weights), k=o.k)
    print(result)
    if o.json:
        result.to_json(o.json)
        print(f"written to {o.json}")


def explain(args: list[str]) -> None:
    import tyro

    o = tyro.cli(ExplainOptions, prog="gan-course explain", args=args)
    from gan_course.core import InputError
    from gan_course.gradcam import explain

    if o.n < 1 or o.rows < 1: raise InputError(f"--n and --rows have to be at least 1, not {o.n} and {o.rows}")
    run = find_run(o.run)
    out = o.out or Path(f"{run.path.name}-explain.png")
    if out.suffix.lower() != ".png": raise InputError(f"--out is {out}: give the name of a .png file")
    result = explain(run, o.images, o.layer or None, o.target, limit=o.n, weights=as_weights(o.weights))
    print(result)
    out.parent.mkdir(parents=True, exist_ok=True)
    result.figure(o.rows).savefig(out)
    print(f"{min(o.rows, len(result.data))} images with their heat maps in {out}")


def as_weights(text: str | None):
    """An epoch as a number; "best", "last" and None as they are."""
    return int(text) if text and text.isdecimal() else text


def runs(args: list[str]) -> None:
    import tyro

    o = tyro.cli(RunsOptions, prog="gan-course runs", args=args)
    from gan_course.core import InputError
    from gan_course.train import open_run, ready_folder

    if not o.folder.is_dir() and o.folder != RunsOptions.folder: raise InputError(f"there is no folder {o.folder}")
    print(f"{'run':32} {'data':14} {'model':8} {'size':>5} {'epochs':>8} {'images':>11} {'G loss':>7}  best FID")
    for place in (o.folder, ready_folder()):
        for config in sorted(place.glob("*/config.json")):
            try: print(run_line(open_run(config.parent), place == o.folder))
            except InputError as e: print(plain(f"{config.parent.name:32} {e}"))


def run_line(run, own: bool) -> str:
    rows = run.history
    last = rows[-1] if rows else {}
    loss = last.get("g_loss")
    return plain_columns(f"{str(run.path) if own else run.path.name + ' (ready)':32} {run.info['data']['name']:14} {run.config.model:8} "
                         f"{run.info['model']['img_size']:>5} {last.get('epoch', 0):>3}/{run.config.epochs:<4} {last.get('images') or 0:>11,} "
                         f"{'-' if loss is None else f'{loss:.3f}':>7}  {best_fid(run)}")


def plain_columns(text: str) -> str:
    """`plain`, with the spaces kept."""
    return "".join(c if c.isprintable() else "?" for c in text)


def best_fid(run) -> str:
    """The least FID of the history with its protocol: FID 42.1 (10k generated, 50k real train, inception; epoch 12)."""
    measured = [(row["fid"], row["epoch"]) for row in run.history if row["fid"] is not None]
    if not measured: return "-"
    fid, epoch = min(measured)
    return f"FID {fid:.1f} ({protocol(run)}; epoch {epoch})"


def protocol(run) -> str:
    """How the FIDs of a run are measured, in short."""
    p = run.info.get("fid") or {}
    if not {"n_fake", "n_real", "split", "extractor"} <= set(p): return "protocol not recorded"
    return f"{short(p['n_fake'])} generated, {short(p['n_real'])} real {p['split'] or 'images'}, {p['extractor']}"


def short(n: int) -> str:
    """50000 → 50k."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
