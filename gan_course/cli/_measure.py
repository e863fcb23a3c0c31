"""`gan-course evaluate`."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from gan_course.cli._look import run_of
from gan_course.cli._surroundings import as_weights, file_to_write, options, say


@dataclass
class EvaluateOptions:
    """FID, KID, precision, recall, density and coverage, with the protocol they were measured by."""

    fake: Positional[str]  # a run folder, the name of a ready run, or a folder of images
    real: Positional[str | None] = None
    """a folder of images, a data set, or statistics in pytorch-fid's .npz; by default what the run was trained on;
    beside a run, pictures are read at its size and with its --fit"""
    n_fake: int | None = None  # generated images; by default 10000 of a run, all of a folder
    n_real: int | None = None  # real images; by default all
    extractor: str = "inception"  # "inception" (FID), or "small": no download, a Fréchet distance that is no FID
    seed: int = 0  # of the latents
    weights: str | None = None  # of a run: "best", "last" or an epoch; by default the best, if known
    k: int = 5  # neighbours of precision, recall, density and coverage; Kynkäänniemi et al. take 3
    batch_size: int = 32
    json: Path | None = None  # write numbers and protocol to this file, too
    model: str | None = None  # module:function, for a run of networks of your own


def evaluate(args: list[str]) -> None:
    """`gan-course evaluate`."""
    o = options(EvaluateOptions, "evaluate", args)
    from gan_course.core import InputError
    from gan_course.data import is_folder
    from gan_course.evaluation import evaluate

    file = file_to_write(o.json, "--json") if o.json else None
    folder = is_folder(o.fake) and not (Path(o.fake) / "config.json").exists()
    fake = o.fake if folder else run_of(o.fake, o.model)
    n_fake = 10_000 if o.n_fake is None and not folder else o.n_fake
    try:
        result = evaluate(fake, o.real, n_fake=n_fake, n_real=o.n_real, extractor=o.extractor, seed=o.seed,
                          batch_size=o.batch_size, weights=as_weights(o.weights), k=o.k)
    except InputError as e:
        if "cannot be read as an image" not in str(e): raise
        folders = [Path(name) for name in (o.fake, o.real) if name and is_folder(name)]
        bad = [line for place in folders if not (place / "config.json").exists() for line in unreadable(place)]
        if len(bad) < 2: raise
        more = f"; and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise InputError(f"{len(bad)} files cannot be read as images: {'; '.join(bad[:10])}{more}: "
                         "remove or replace them") from None
    try:
        if file: result.to_json(file)
    finally: say(result)  # the numbers are seen, too, where the file could not be written
    if o.json: say(f"written to {o.json}")


def unreadable(folder: Path) -> list[str]:
    """All files of a folder that are no images, and why."""
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    from gan_course.core import InputError
    from gan_course.imagefiles import list_images
    from gan_course.sources import read_file

    def problem(name):
        try: read_file(folder / name)
        except InputError as e: return str(e).replace(" cannot be read as an image", "").replace(
            ": remove or replace it", "")
        return None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out has been said
        names = list_images(folder)
    with ThreadPoolExecutor() as pool: return [line for line in pool.map(problem, names) if line]
