"""The files of a run, read as if a stranger had made them: sizes before they are read, kinds before they are used."""
import csv
import dataclasses
import io
import itertools
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, float32, int64

from .core import InputError
from .guards import guard
from .locks import check_sizes
from .settings import TrainConfig, check_config
from .storage import check_inside, open_regular, read_tensors

__all__ = ["CONFIG_FIELDS", "PIXELS", "as_folder", "check_info", "grid_size", "read_config", "read_labels",
           "read_latents", "read_pixels", "read_rows"]

SIDE, MANY = (1, 16_384), (1, 10_000)
CONFIG_FIELDS: dict[str, dict[str, Any]] = {  # what others than `train` read in config.json, and how large it may be
    "train": {},
    "model": dict(img_size=SIDE, img_channels=(1, 4), latent_dim=(1, 2**31), base_channels=(1, 2**31), head=str),
    "data": dict(name=str, n=(0, 2**40)),
    "samples": dict(n=MANY, cols=MANY, padding=(0, 1000), size=SIDE),
    "fid": dict(n_fake=(0, 10**7), n_real=(0, 2**40), every=(0, 2**31), extractor=str)}
OPTIONAL = {"fid": {}}  # parts that may be missing, as their fields may
LONGEST = 4096  # characters of a text, which may be a path
LATENTS = 10**8  # numbers
PIXELS = 80_000_000  # of a grid of samples; Pillow calls more than 89 million a decompression bomb
ROWS = 100_000  # epochs
LARGEST = 1e39  # a loss; float32 ends before


def as_folder(
    path: str | Path,
) -> Path:  # with `~` as the home folder
    "A path as the disk has it; an `InputError` for a text that no disk can hold."
    path = os.path.expanduser(path)
    try: fits = b"\0" not in os.fsencode(path)
    except UnicodeError: fits = False
    if not fits: raise InputError(f"{str(path)!a} cannot be the name of a folder")
    return Path(path)


# ---- config.json


def read_config(
    folder: Path,  # of a run
) -> tuple[dict, TrainConfig]:  # the whole of its config.json, and the settings in it
    "What a run folder says of itself, once everything in the folder may be read; an `InputError` if not."
    if not os.path.isdir(folder):
        raise InputError(f"there is no folder {folder}: give a run folder, as `gan-course train` writes it")
    if not os.path.isfile(folder / "config.json"):
        raise InputError(f"{folder} is no run folder: there is no config.json in it")
    try:
        check_inside(folder)
        check_sizes(folder)
    except OSError as e: raise InputError(f"{folder} cannot be read ({e.strerror or e})") from None
    try:
        text = (folder / "config.json").read_text(encoding="utf-8")
        info = check_info(json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite))
        return info, _settings(info)
    except (OSError, ValueError, TypeError, RecursionError) as e:
        reason = e if isinstance(e, InputError) else repr(e)[:200]
        raise InputError(f"{folder}/config.json cannot be read: {reason}") from None


def _whole(text: str) -> int:
    if len(text) > 19: raise InputError(f"it holds a whole number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)): raise InputError(f"it holds {text[:20]}, which is no finite number")
    return float(text)


def check_info(
    info: Any,  # what config.json holds, or is about to hold
) -> dict:  # the same
    "The content of config.json, if its parts are of the right kind and size and agree with each other."
    if not isinstance(info, dict): raise InputError(f"it holds no settings, but {info!r:.60}")
    if info.get("format") != 1:
        raise InputError(f"it has format {info.get('format')!r:.20}: this version of gan_course reads format 1")
    _check_texts(info)
    for part, fields in CONFIG_FIELDS.items():
        content, free = info.get(part, OPTIONAL.get(part)), part in OPTIONAL
        if not isinstance(content, dict): raise InputError(f"{part} is {content!r:.60}")
        for name, rule in fields.items():
            if not (free and name not in content): _check_field(f"{part}.{name}", content.get(name), rule)
    if not isinstance(info.get("steps", {}), dict): raise InputError(f"steps is {info['steps']!r:.60}")
    model, s = info["model"], info["samples"]
    if s["size"] != model["img_size"]:
        raise InputError(f"samples.size is {s['size']}, but model.img_size {model['img_size']}")
    if s["n"] * model["latent_dim"] > LATENTS:
        raise InputError(f"{s['n']:,} samples with latent_dim {model['latent_dim']:,} are too many numbers: "
                         f"at most {LATENTS:,} are kept")
    if math.prod(grid_size(*(s[k] for k in ("n", "size", "cols", "padding")))) > PIXELS:
        raise InputError(f"{s['n']:,} samples of {s['size']}×{s['size']} in {s['cols']:,} columns are too many pixels "
                         f"for one picture: at most {PIXELS:,} are kept, so choose fewer samples")
    return info


def _check_texts(part: Any) -> None:
    "No text is longer than a path, however deep it lies."
    if isinstance(part, str) and len(part) > LONGEST:
        raise InputError(f"it holds a text of {len(part):,} characters, which begins with {part[:40]!r}")
    if isinstance(part, dict): part = [*part, *part.values()]
    if isinstance(part, list):
        for each in part: _check_texts(each)


def _check_field(name: str, value: Any, rule: Any) -> None:
    if rule is str: fits, wanted = isinstance(value, str), "a text"
    else:
        least, most = rule
        fits, wanted = type(value) is int and least <= value <= most, f"a whole number from {least:,} to {most:,}"
    if not fits: raise InputError(f"{name} is {value!r:.60}: {wanted} is wanted")


def _settings(info: dict) -> TrainConfig:
    "The settings of a run, which have to agree with its networks and samples."
    known = {f.name for f in dataclasses.fields(TrainConfig)}  # what another version wrote is passed over
    config = check_config(TrainConfig(**{k: v for k, v in info["train"].items() if k in known}))
    if config.labels: _check_classes(info["data"].get("classes"), info["model"].get("num_classes"))
    twice = {f"model.{k}": (info["model"][k], getattr(config, k)) for k in ("latent_dim", "base_channels", "head")}
    twice["samples.n"] = info["samples"]["n"], config.samples
    for name, (here, there) in twice.items():
        if here != there: raise InputError(f"{name} is {here!r:.60}, but the training was told {there!r:.60}")
    return config


def _check_classes(names: Any, n: Any) -> None:
    "Names of the classes, as many as the networks know."
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not texts or type(n) is not int or not 2 <= n == len(names):
        raise InputError(f"the training was told labels, but data.classes is {names!r:.60} "
                         f"and model.num_classes {n!r:.20}")


def grid_size(
    n: int,  # images
    size: int,  # height and width of each
    cols: int,  # images a row
    padding: int,  # pixels between images and around them
) -> tuple[int, int]:  # width and height in pixels
    "How large the picture with the samples of an epoch is, as `image_grid` makes it."
    step, rows = size + padding, -(-n // cols)
    return cols * step + padding, rows * step + padding


# ---- history, latents, samples


def read_rows(
    file: Path,  # CSV
    columns: tuple[str, ...],  # that are wanted; others are passed over
    whole: tuple[str, ...],  # those that hold whole numbers
) -> list[dict]:  # column → number, or None where its field is empty or the column missing
    "The rows of a history: epochs 1, 2, 3, …"
    def number(name, text):
        if not text: return None
        value = int(text) if name in whole else float(text)
        if LARGEST < abs(value) < math.inf: raise ValueError(f"{name} is {text[:20]}")
        return value

    try:
        with io.TextIOWrapper(open_regular(file), encoding="utf-8", newline="") as f:
            lines = csv.reader(f)
            names = next(lines, [])
            if len(names) > 1000: raise ValueError(f"{len(names)} columns")
            fields = (zip(names, line, strict=False) for line in itertools.islice(lines, ROWS + 1) if line)
            rows = [dict.fromkeys(columns) | {k: number(k, text) for k, text in row if k in columns} for row in fields]
        if len(rows) > ROWS: raise ValueError(f"more than {ROWS} rows")
        for i, row in enumerate(rows, 1):
            if row["epoch"] != i: raise ValueError(f"row {i} is of epoch {row['epoch']}")
        return rows
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as e:
        raise InputError(f"{file} is no history of a run ({e!r:.80}): take it from a copy of the run") from None


def read_latents(
    file: Path,  # safetensors
    shape: tuple[int, int],  # number and length
) -> Tensor:  # float32
    "The fixed latents of a run."
    most = 8 * math.prod(shape) + 100_000  # bytes
    z = read_tensors(file).get("latents") if file.is_file() and file.stat().st_size <= most else None
    if z is None or z.shape != shape or z.dtype != float32 or not bool(z.isfinite().all()):
        raise InputError(f"{file} does not hold the {shape} latents its config.json tells of, finite and float32: "
                         "take it from a copy of the run")
    return z


def read_labels(
    file: Path,  # safetensors
    n: int,
    num_classes: int,
) -> Tensor:  # (n,) int64
    "The classes of the fixed latents of a conditional run."
    labels = read_tensors(file).get("labels") if file.is_file() and file.stat().st_size < 10**9 else None
    if (labels is None or labels.shape != (n,) or labels.dtype != int64
            or not bool(((labels >= 0) & (labels < num_classes)).all())):
        raise InputError(f"{file} does not hold the {n} labels below {num_classes} its config.json tells of: "
                         "take it from a copy of the run")
    return labels


def read_pixels(
    file: Path,  # PNG
    wanted: tuple[int, int],  # width and height, known beforehand
    channels: int,  # 1, 3 or 4
) -> np.ndarray:  # (H,W,C) uint8
    "The pixels of a picture; one of another size or kind is not unpacked."
    from PIL import Image

    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(file, formats=["PNG"])  # the head only: no pixel is unpacked yet
        if (picture.size, picture.mode) != (wanted, mode):
            raise InputError(f"{file} has {picture.size} pixels of mode {picture.mode}, "
                             f"but config.json tells of {wanted} and {mode}")
        return np.array(picture).reshape(*wanted[::-1], channels)
    except InputError: raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        reason = f"{file} cannot be read as a picture ({e})"
        raise InputError(f"{reason}: the file is cut off or of another kind") from None


guard(__name__, {"n": "1..", "num_classes": "1..", "size": "1..", "cols": "1..", "padding": "0..", "channels": "1..4"})
