"""A run's folder: taken by one process, locked while that process lives, and read only as far as a run can be large."""
import contextlib
import errno
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from .core import InputError
from .guards import guard
from .storage import writing

__all__ = ["LOCK", "LARGEST", "locked", "unused", "take_folder", "check_sizes"]

LOCK = ".lock"  # its name in a run folder
LARGEST = {"config.json": 1_000_000, "history.csv": 10_000_000, "header": 16_000_000}  # bytes; no run comes near
_held: set[int] = set()  # open locks of this process
if hasattr(os, "register_at_fork"):  # a child holds no lock of its parent, which may die first
    os.register_at_fork(after_in_child=lambda: [os.close(_held.pop()) for _ in range(len(_held))])


def _who(pid: int) -> dict:
    "What tells a process from all others, those of the same number included."
    import psutil

    with contextlib.suppress(psutil.Error):
        return dict(host=socket.gethostname(), pid=pid, started=round(psutil.Process(pid).create_time(), 1))
    return {}


def _reserve(file: int) -> bool:
    "Ask the system for an open file; it gives it back when its process dies. False if another has it."
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(file, 1 << 20, os.SEEK_SET)  # a byte beyond what is written: others may read that
            getattr(msvcrt, "locking")(file, getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        if e.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK): return False
        known = _holder(file)  # this disk knows no locks: what is written in the file has to do
        return not known or known.get("host") == socket.gethostname() and known != _who(known["pid"])
    return True


def _holder(file: int) -> dict:
    "Who wrote into a lock; empty if nobody can be read out of it."
    os.lseek(file, 0, os.SEEK_SET)
    try: known = json.loads(os.read(file, 1000))
    except (OSError, ValueError, RecursionError): return {}
    kinds = dict(host=str, pid=int, started=float)
    fits = isinstance(known, dict) and all(type(known.get(k)) is kind for k, kind in kinds.items())
    return {k: known[k] for k in kinds} if fits and 0 < known["pid"] < 2**31 else {}


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)


def _in_use(folder: Path, file: int) -> InputError:
    who = _holder(file)
    by = f"by process {who['pid']} on {ascii(who['host'])[1:-1]:.80}" if who else "by another process"
    return InputError(f"{folder} is being trained {by}: wait until it is done, stop it, or choose another place")


@contextlib.contextmanager
def locked(
    folder: Path,  # of a run; it is there
) -> Iterator[None]:
    "Nobody else trains in this folder meanwhile. The lock of a dead process does not count."
    path, mine = folder / LOCK, os.getpid()
    while True:
        with writing(folder): file = _open(path, os.O_RDWR | os.O_CREAT)
        if not _reserve(file):
            error = _in_use(folder, file)
            os.close(file)
            raise error
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file), os.stat(path)): break
        os.close(file)  # its owner has just removed it: it locks nothing
    _held.add(file)
    try:
        with writing(folder):
            os.lseek(file, 0, os.SEEK_SET)
            os.ftruncate(file, 0)
            os.write(file, json.dumps(_who(mine)).encode())
        yield
    finally:
        if os.getpid() == mine:
            with contextlib.suppress(OSError): path.unlink()  # Windows removes no open file
            _held.discard(file)
            os.close(file)
            with contextlib.suppress(OSError):
                if os.name == "nt": path.unlink()


def unused(
    folder: Path,
) -> bool:  # nothing is in it but what a process left that was killed while it began
    "Whether a run may begin in this folder."
    with writing(folder):
        return folder.is_dir() and all(p.name.endswith(".part") or p.name == LOCK for p in folder.iterdir())


def take_folder(
    wanted: Callable[[], Path],  # says where a run may begin
    numbered: bool,  # whether it names another folder when one is taken
    keep: contextlib.ExitStack,  # keeps the lock
) -> Path:
    "Make a folder for a new run and lock it: of many processes that want it at once, one gets it."
    while True:
        place = wanted()
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            try: os.mkdir(place)
            except FileExistsError:
                if numbered: continue  # another was faster
        keep.enter_context(locked(place))
        if numbered or wanted() == place: return place  # seen again now that it is locked


def check_sizes(
    folder: Path,  # a run, perhaps a stranger's
):
    "An `InputError` if a file of a run is larger than one of a run can be: before any of it is read."
    def check(file, size, most):
        if size > most:
            raise InputError(f"{file} has {size:,} bytes, more than the {most:,} that one of a run can have: "
                             "the file is damaged or made to do harm; take it from a copy of the run")

    try: folder.stat()
    except (OSError, ValueError) as e: raise InputError(f"{folder} cannot be read ({e})") from None
    for name in ("config.json", "history.csv"):
        if (folder / name).is_file(): check(folder / name, (folder / name).stat().st_size, LARGEST[name])
    for file in [*folder.glob("*.safetensors"), *folder.glob("checkpoints/*.safetensors")]:
        if not file.is_file(): continue
        with open(file, "rb") as f: head = f.read(8)
        if len(head) == 8: check(f"the header of {file}", struct.unpack("<Q", head)[0], LARGEST["header"])


guard(__name__)
