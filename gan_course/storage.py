"""The disk: files that are whole or absent, tensors read without executing anything, and a cache of decoded images."""
import contextlib
import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .core import InputError

__all__ = ["atomic_write", "writing", "write_json", "read_tensors", "epoch_in", "check_inside", "data_root",
           "cache_key", "write_rows", "open_rows", "cached", "stamps", "half_weights", "float_weights"]


@contextlib.contextmanager
def atomic_write(
    path: str | Path,  # where the file will stand
) -> Iterator[Path]:  # the path to write to
    "Write a file so that nobody ever sees half of it: beside its place, flushed to the disk, then renamed."
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with open(part, "rb+") as f: os.fsync(f.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(
    path: str | Path,  # what is being written: a file, or the folder it lies in
) -> Iterator[None]:
    "An error of the disk in one line: a disk that is full or may not be written to."
    try: yield
    except (OSError, SafetensorError) as e:
        why = getattr(e, "strerror", None) or str(e)
        raise InputError(
            f"{path} cannot be written ({why}): what was complete before is kept; "
            "make room there or choose another place, then resume") from None


def write_json(
    path: str | Path,  # where it will stand
    content: dict,
) -> None:
    "A dict as a JSON file that people can read."
    text = json.dumps(content, indent=2, ensure_ascii=False)
    with atomic_write(path) as part: part.write_text(text + "\n", encoding="utf-8")


def read_tensors(
    path: str | Path,  # a safetensors file
    prefix: str = "",  # only tensors whose names begin so
) -> dict[str, Tensor]:  # name, without the prefix → tensor
    "Tensors of a safetensors file: numbers and names, nothing that could be executed."
    try:
        with safe_open(path, "pt") as f:
            names = [name for name in f.keys() if name.startswith(prefix)]
            return {name[len(prefix):]: f.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as e:
        raise InputError(
            f"{path} cannot be read as safetensors ({e}): the file is missing, cut off or of another kind") from None


def epoch_in(
    file: str | Path,  # a checkpoint
    unknown: Any = None,  # what to return if it does not say so
) -> Any:  # whole number, or `unknown`
    "The epoch after which a checkpoint was written."
    try:
        with safe_open(file, "pt") as f: epoch = (f.metadata() or {}).get("epoch", "")
    except (SafetensorError, OSError): return unknown
    return int(epoch) if epoch.isascii() and epoch.isdecimal() else unknown


def check_inside(
    path: Path,  # a run folder
) -> None:
    "An `InputError` if something in a stranger's run leads out of its folder, or is neither a file nor a folder."
    inside = [p for p in path.iterdir() if p.is_dir() and not p.is_symlink()]
    for folder in [path, *inside]:
        for entry in os.scandir(folder):
            if entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(os.path.realpath(path)):
                raise InputError(
                    f"{entry.path} is a link that leads out of the run: a run is read and written inside its folder "
                    "only; put the files themselves there")
            if not entry.is_symlink() and os.path.lexists(entry) and not (entry.is_file() or entry.is_dir()):
                raise InputError(f"{entry.path} is neither a file nor a folder: remove it")


def data_root(
    root: str | Path | None = None,  # a folder, or None
) -> Path:
    "The folder of all data: `root`, else the environment's GAN_COURSE_DATA, else a folder in the user's cache."
    return Path(root or os.environ.get("GAN_COURSE_DATA") or user_cache_path("gan-course")).expanduser()


def cache_key(
    **what: Any,  # everything that the decoded images depend on; goes through JSON
) -> str:  # 16 hexadecimal digits
    "A name that changes when anything of `what` changes."
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]


def write_rows(
    file,  # open for writing bytes, and can seek
    rows: Iterable[np.ndarray],  # (k,C,H,W) or (C,H,W) uint8 arrays of one shape; may be empty
) -> int:  # number of images written
    "Images one after the other as one .npy array: memory holds no more than one piece at a time."
    def header(n, shape):
        file.seek(0)
        facts = {"descr": "|u1", "fortran_order": False, "shape": (n, *shape)}
        np.lib.format.write_array_header_1_0(file, facts)
        return file.tell()

    n, shape, start = 0, None, 0
    for row in rows:
        row = np.ascontiguousarray(row[None] if row.ndim == 3 else row)
        if shape is None:
            shape = row.shape[1:]
            start = header(0, shape)
        file.write(row.tobytes())
        n += len(row)
    if n: assert header(n, shape) == start  # numpy leaves room in the header for the number to grow
    return n


def open_rows(
    file,  # path of an .npy file, or an open one
    map_above: float = 512,  # megabytes from which on the file is mapped and not read
) -> Tensor:  # (N,C,H,W) uint8
    "The images of an .npy file: read if small, mapped into memory if large. Changes never reach the file."
    large = isinstance(file, Path) and file.stat().st_size > map_above * 1e6
    return torch.from_numpy(np.load(file, mmap_mode="c" if large else None))


def cached(
    name: str,  # begins the file's name
    key: str,  # from `cache_key`
    produce: Callable[[], tuple],  # → iterable of images, and a dict of facts, complete once the iterable has ended
    root: str | Path | None = None,  # data root
) -> tuple[Tensor, dict]:  # images (N,C,H,W) uint8, facts as they went through JSON
    "Images from the cache, or produced now and kept there."
    place = data_root(root) / "cache"
    file, facts_file = place / f"{name}-{key}.npy", place / f"{name}-{key}.json"
    if file.exists() and facts_file.exists(): return open_rows(file), json.loads(facts_file.read_text())
    rows, facts = produce()
    try: place.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        warnings.warn(f"decoded images are not kept: {place} cannot be made ({e.strerror}); "
                      "set GAN_COURSE_DATA to a folder that can be written", stacklevel=2)
        write_rows(memory := io.BytesIO(), rows)
        memory.seek(0)
        return open_rows(memory), json.loads(json.dumps(facts))
    with atomic_write(file) as part:
        with open(part, "wb") as f: write_rows(f, rows)
        with atomic_write(facts_file) as facts_part: facts_part.write_text(json.dumps(facts))
    return open_rows(file), json.loads(facts_file.read_text())


def stamps(
    folder: Path,  # where the files lie
    files: Iterable[str],  # paths within `folder`
) -> list:  # of [path, bytes, time of the last change in ns]
    "What tells whether files have changed, without reading them."
    def stamp(file):
        try: facts = os.stat(folder / file)
        except OSError: return [str(file), 0, 0]
        return [str(file), facts.st_size, facts.st_mtime_ns]
    return [stamp(f) for f in files]


def half_weights(
    weights: dict[str, Tensor],
) -> dict[str, Tensor]:  # the same names; floats as float16, whole numbers as they are
    "Weights at half their size, as files of the package hold them."
    return {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}


def float_weights(
    weights: dict[str, Tensor],
) -> dict[str, Tensor]:  # the same names; floats as float32, whole numbers as they are
    "Weights as networks compute with them: the way back from `half_weights`, without what was rounded off."
    return {name: w.float() if w.is_floating_point() else w for name, w in weights.items()}
