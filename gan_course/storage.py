"""The disk: files that are whole or absent, tensors read without executing anything, and a cache of decoded images."""
import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .core import InputError
from .guards import guard, shown, warn

__all__ = ["atomic_write", "writing", "write_json", "read_tensors", "epoch_in", "check_inside", "data_root",
           "cache_key", "write_rows", "open_rows", "cached", "cached_file", "open_regular", "stamps", "half_weights",
           "float_weights"]


@contextlib.contextmanager
def atomic_write(
    path: str | Path,  # where the file will stand
) -> Iterator[Path]:  # the path to write to
    "Write a file so that nobody ever sees half of it: beside its place, flushed to the disk, then renamed."
    with writing(path), _replacing(path) as part: yield part


@contextlib.contextmanager
def _replacing(path: str | Path) -> Iterator[Path]:
    """What `atomic_write` does, with the disk's errors as they are: a link stays, what it leads to is replaced.

    A new file gets the mode that the umask says, one that was there keeps its own, whatever the writer makes."""
    known, place = _known_file(path), Path(os.path.realpath(path))
    part = place.with_name(f".{place.name[:50]}.{secrets.token_hex(6)}.part")  # threads and containers share numbers
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        mode = stat.S_IMODE((known or os.stat(part)).st_mode)
        yield part
        with open(part, "rb+") as f: os.fsync(f.fileno())
        if stat.S_IMODE(os.stat(part).st_mode) != mode: os.chmod(part, mode)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)


def _known_file(path: str | Path) -> os.stat_result | None:
    "The regular file that stands there; None if nothing does; anything else is refused."
    try: known = os.stat(Path(path))  # before links are followed: what /dev/stdout leads to may have no path
    except FileNotFoundError: return None
    if stat.S_ISREG(known.st_mode): return known
    what = "a folder" if stat.S_ISDIR(known.st_mode) else "a device, a pipe or a socket"
    raise InputError(f"{path} is {what}: give the name of a file")


@contextlib.contextmanager
def writing(
    path: str | Path,  # what is being written: a file, or the folder it lies in
) -> Iterator[None]:
    "An error of the disk in one line: a disk that is full or may not be written to."
    _check_name(path)
    try: yield
    except (OSError, SafetensorError) as e:
        why = getattr(e, "strerror", None) or str(e)
        raise InputError(
            f"{path} cannot be written ({why}): what was complete before is kept; "
            "make room there or choose another place, then try again (a run: resume it)") from None


def _check_name(path: str | Path) -> None:
    "What no file can be called is said before the system is asked."
    try: name = os.fsencode(path)
    except UnicodeEncodeError: name = b"\0"
    if b"\0" in name: raise InputError(f"{str(path)!a} cannot be the name of a file")


def write_json(
    path: str | Path,  # where it will stand
    content: dict,
) -> None:
    "A dict as a JSON file that people can read."
    text = json.dumps(content, indent=2, ensure_ascii=False)
    try: text.encode("utf-8")
    except UnicodeEncodeError: text = json.dumps(content, indent=2)  # a path that is not UTF-8: escaped, it comes back
    with atomic_write(path) as part: part.write_text(text + "\n", encoding="utf-8")


def read_tensors(
    path: str | Path,  # a safetensors file
    prefix: str = "",  # only tensors whose names begin so
) -> dict[str, Tensor]:  # name, without the prefix → tensor
    "Tensors of a safetensors file: numbers and names, nothing that could be executed."
    try:
        with open_regular(path), safe_open(path, "pt") as f:  # a pipe would be waited for
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
    epoch = _note(file, "epoch")
    return int(epoch) if epoch.isascii() and epoch.isdecimal() and len(epoch) < 10 else unknown


def _note(file: str | Path, name: str) -> str:
    "What stands under a name in the head of a safetensors file, if there is such a one."
    try:
        if not Path(file).is_file(): return ""  # a pipe would be waited for
        with safe_open(file, "pt") as f: return (f.metadata() or {}).get(name, "")
    except (SafetensorError, OSError): return ""


def check_inside(
    path: Path,  # a run folder
) -> None:
    "An `InputError` if something in a stranger's run leads out of its folder, or is neither a file nor a folder."
    for place, folders, files in os.walk(path):
        for entry in (Path(place, name) for name in (*folders, *files)):
            if entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(os.path.realpath(path)):
                raise InputError(
                    f"{entry} is a link that leads out of the run: a run is read and written inside its folder "
                    "only; put the files themselves there")
            if not entry.is_symlink() and os.path.lexists(entry) and not (entry.is_file() or entry.is_dir()):
                raise InputError(f"{entry} is neither a file nor a folder: remove it")


def data_root(
    root: str | Path | None = None,  # a folder, or None
) -> Path:
    "The folder of all data: `root`, else the environment's GAN_COURSE_DATA, else a folder in the user's cache."
    return Path(os.path.expanduser(root or os.environ.get("GAN_COURSE_DATA") or user_cache_path("gan-course")))


def cache_key(
    **what: Any,  # everything that the decoded images depend on; goes through JSON
) -> str:  # 16 hexadecimal digits
    "A name that changes when anything of `what` changes."
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]


class _Spool:
    "A file that is written on in memory as soon as the disk takes no more: what has been decoded is not lost."
    def __init__(self, path: Path):
        self.problem: OSError | None = None
        try: self.file: Any = open(path, "x+b", buffering=0)  # noqa: SIM115
        except OSError as e: self.file, self.problem = io.BytesIO(), e

    def seek(self, place: int): self.file.seek(place)

    def write(self, data: bytes) -> int:
        at, rest = self.file.tell(), memoryview(data)
        try:
            while rest: rest = rest[self.file.write(rest):]
        except OSError as e: self.to_memory(e, at, data)
        return len(data)

    def to_memory(self, problem: OSError, at: int = 0, data: bytes = b""):
        self.file.seek(0)
        memory = io.BytesIO(self.file.read())
        self.file.close()
        self.file, self.problem = memory, problem
        memory.seek(at)
        memory.write(data)


def write_rows(
    file: io.IOBase | _Spool,  # open for writing bytes, and can seek
    rows: Iterable[np.ndarray],  # (k,C,H,W) or (C,H,W) uint8 arrays of one shape; may be empty
) -> int:  # number of images written
    "Images one after the other as one .npy array: memory holds no more than one piece at a time."
    def header(n, shape):
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (n, *shape)})
        return head.getvalue()

    n, shape, room = 0, None, 0
    for row in rows:
        if not isinstance(row, np.ndarray): raise InputError(f"rows have to be arrays of images, not {shown(row)}")
        row = np.ascontiguousarray(row[None] if row.ndim == 3 else row)
        if shape is None:
            shape = row.shape[1:]
            room = file.write(header(0, shape))
        if row.shape[1:] != shape: raise InputError(f"images of shapes {shape} and {row.shape[1:]} in one set")
        file.write(row.tobytes())
        n += len(row)
    if not n: return 0
    final = header(n, shape)
    if len(final) != room: raise RuntimeError("numpy leaves no room in the header for the number to grow")
    file.seek(0)
    file.write(final)
    return n


def open_rows(
    file: Path | io.IOBase,  # an .npy file, or an open one
    map_above: float = 512,  # megabytes from which on the file is mapped and not read
) -> Tensor:  # (N,C,H,W) uint8
    "The images of an .npy file: read if small, mapped into memory if large. Changes never reach the file."
    if isinstance(file, Path): open_regular(file).close()
    large = isinstance(file, Path) and file.stat().st_size > map_above * 1e6
    try: return torch.from_numpy(np.load(file, mmap_mode="c" if large else None))
    except (EOFError, ValueError) as e: raise InputError(f"{file} cannot be read as an .npy file ({e})") from None


def _checksum(images: Tensor) -> int:  # of (N,C,H,W) uint8, a piece at a time: it may be mapped
    total = 0
    for part in images.split(4096): total = zlib.crc32(np.ascontiguousarray(part.numpy()).data, total)
    return total


def _kept(
    file: Path,  # the images
    facts_file: Path,  # what belongs to them
    key: str,  # what must be there
) -> tuple[Tensor, dict] | None:  # None: not there, or damaged, or of something else
    "An entry of the cache, if it is whole and this one."
    try:
        if not (stat.S_ISREG(file.stat().st_mode) and stat.S_ISREG(facts_file.stat().st_mode)): return None
        entry = json.loads(facts_file.read_text(encoding="utf-8"))
        images = open_rows(file)
        whole = (entry["key"] == key and images.dtype == torch.uint8 and images.ndim == 4 and len(images) > 0
                 and list(images.shape) == entry["shape"] and _checksum(images) == entry["checksum"])
        facts = entry["facts"]
        return (images, facts) if whole and isinstance(facts, dict) else None
    except Exception:  # a damaged file can make its reader raise nearly anything
        return None


_said: set = set()  # places whose trouble has been told


def _say_once(place: Path, problem: BaseException):
    if str(place) in _said: return
    _said.add(str(place))
    why = getattr(problem, "strerror", None) or problem
    warn(f"decoded images and statistics are not kept: {place} cannot be written ({why}); "
         "the work goes on without; set GAN_COURSE_DATA to a folder that can be written")


def _prune(place: Path, key: str, of: str):
    "Entries of the same thing in an earlier state, and those that nobody has asked for in a long time."
    for facts_file in place.glob("*.json"):
        try:
            entry = json.loads(facts_file.read_text())
            if _is_old(facts_file) or (of and entry.get("of") == of and entry.get("key") != key):
                for file in (facts_file, facts_file.with_suffix(".npy")): file.unlink(missing_ok=True)
        except (OSError, ValueError, AttributeError): pass  # another process was quicker, or no entry at all


def cached(
    name: str,  # begins the file's name
    key: str,  # from `cache_key`
    produce: Callable[[], tuple],  # → iterable of images, and a dict of facts, complete once the iterable has ended
    root: str | Path | None = None,  # data root
    of: str = "",  # from `cache_key`: what the images are of, whatever it holds; earlier states of it are removed
    again: Callable[[dict], bool] = lambda facts: False,  # facts → whether what is kept has to be made anew
) -> tuple[Tensor, dict]:  # images (N,C,H,W) uint8, facts as they went through JSON
    "Images from the cache, or produced now and kept there; an entry that cannot be right is made anew."
    place = data_root(root) / "cache"
    stem = f"{_word(name)}-{key}"
    file, facts_file = place / f"{stem}.npy", place / f"{stem}.json"
    entry = _kept(file, facts_file, key)
    if entry and not again(entry[1]):
        with contextlib.suppress(OSError): os.utime(facts_file)  # it is in use
        return entry
    del entry
    with contextlib.suppress(OSError): place.mkdir(parents=True, exist_ok=True)
    part = place / f".{stem}.{secrets.token_hex(6)}.part"
    spool = _Spool(part)
    rows, facts = produce()
    try:
        if not write_rows(spool, rows): raise InputError(f"there are no images in {name}")
        facts = json.loads(json.dumps(facts))
        if spool.problem is None:
            try: return _keep(spool, part, file, facts_file, dict(key=key, of=of, facts=facts)), facts
            except OSError as e:
                if not spool.file.closed: spool.to_memory(e)
                else: raise
        _say_once(place, spool.problem or OSError("unknown"))
        spool.seek(0)
        return open_rows(spool.file), facts
    finally:
        spool.file.close()
        with contextlib.suppress(OSError): part.unlink(missing_ok=True)


def _keep(spool: _Spool, part: Path, file: Path, facts_file: Path, entry: dict) -> Tensor:
    "What has been written gets its name; the images of it."
    os.fsync(spool.file.fileno())
    images = open_rows(part)
    entry |= dict(shape=list(images.shape), checksum=_checksum(images))
    with _replacing(facts_file) as facts_part: facts_part.write_text(json.dumps(entry))
    os.replace(part, file)
    _prune(file.parent, entry["key"], entry["of"])
    return images


def cached_file(
    name: str,  # begins the file's name
    key: str,  # from `cache_key`
    load: Callable[[Path], Any],  # an `InputError` if a file is not there, damaged, or of something else
    produce: Callable[[], Any],
    save: Callable[[Any, Path], None],
    root: str | Path | None = None,  # data root
    of: str = "",  # as for `cached`; earlier states have it among the notes of their files
) -> Any:
    "What a file of the cache holds, or what is produced now and kept there; what cannot be right is made anew."
    place = data_root(root) / "cache"
    file = place / f"{_word(name)}-{key}.safetensors"
    try:
        kept = load(file)
        with contextlib.suppress(OSError): os.utime(file)  # it is in use
        return kept
    except InputError: made = produce()
    try:
        place.mkdir(parents=True, exist_ok=True)
        save(made, file)
    except (OSError, SafetensorError, InputError) as e: _say_once(place, e.__context__ or e)
    for entry in place.glob("*.safetensors"):
        with contextlib.suppress(OSError):  # another process was quicker
            if entry != file and (_is_old(entry) or (of and _note(entry, "of") == of)): entry.unlink()
    return made


def _word(name: str) -> str: return re.sub("[^A-Za-z0-9_.-]+", "-", name)[:40]


def _is_old(file: Path, days: float = 90) -> bool: return time.time() - file.stat().st_mtime > days * 86400


def open_regular(
    file: str | Path,
) -> io.BufferedReader:  # open for reading
    "A regular file, opened; a pipe, a device or a socket is refused before it can hang or act."
    def check(mode):
        if not stat.S_ISREG(mode): raise InputError(f"{file} is no regular file: remove it")
    _check_name(file)
    try:
        check(os.stat(file).st_mode)
        number = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as e: raise InputError(f"{file} cannot be read ({e.strerror or e})") from None
    opened = os.fdopen(number, "rb")
    try: check(os.fstat(number).st_mode)
    except InputError:
        opened.close()
        raise
    return opened


_open_regular = open_regular  # without the checks of the last line: for what is called once a file


def stamps(
    folder: Path,  # where the files lie
    files: Iterable[str],  # paths within `folder`
) -> list:  # of [path, hash of its bytes]
    "What files hold, whatever their dates say: reading and hashing costs far less than decoding."
    def stamp(file):
        total = hashlib.sha256()
        try:
            with _open_regular(os.path.join(folder, file)) as f:
                while part := f.read(1 << 20): total.update(part)
        except (OSError, InputError) as e: return [str(file), type(e).__name__]
        return [str(file), total.hexdigest()[:24]]
    names = iter(files)  # to a thread 64 at a time: a change of threads takes longer than a small file
    with ThreadPoolExecutor() as pool:
        parts = pool.map(lambda part: [stamp(file) for file in part], iter(lambda: list(islice(names, 64)), []))
        return list(chain.from_iterable(parts))


def half_weights(
    weights: dict[str, Tensor],
) -> dict[str, Tensor]:  # the same names; floats as float16, whole numbers as they are
    "Weights at half their size, as files of the package hold them."
    return _with_floats(weights, torch.float16)


def float_weights(
    weights: dict[str, Tensor],
) -> dict[str, Tensor]:  # the same names; floats as float32, whole numbers as they are
    "Weights as networks compute with them: the way back from `half_weights`, without what was rounded off."
    return _with_floats(weights, torch.float32)


def _with_floats(weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: w.to(dtype) if w.is_floating_point() else w for name, w in weights.items()}


guard(__name__, {"epoch_in.unknown": "any"})
