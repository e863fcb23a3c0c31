"""Hostile calls of everything public: what must come of them is a result, an `InputError` or a `TypeError` in one line.

`calls` holds one valid call for each public function, class and method; `hostile` what takes the place of one or two
of its arguments; `words` the same for the command line. Each call is made in a fork of its own, in an empty folder,
with limits of time and memory; it may write nowhere else, start no program and reach no network.
"""
import contextlib
import importlib
import inspect
import json
import os
import pkgutil
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch

import gan_course
from gan_course.core import InputError

SECONDS = 20  # after so long a call hangs
MEMORY = 2 << 30  # bytes that a call may take
LETTERS = 600  # of a message that is one readable line
ALARMS = "other", "message", "hang", "memory", "died", "outside", "invalid"  # outcomes that are failures
WRITES = "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate"
PROGRAMS = "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"
NETWORK = "socket.connect", "socket.getaddrinfo"


@dataclass
class Outcome:
    """What came of a call."""

    name: str
    hostile: dict[str, str]  # parameter → what stood in place of its argument
    kind: str = "died"  # "returned", "InputError", "TypeError", "refused" (a command), or one of `ALARMS`
    told: str = ""  # the result, or the error
    where: str = ""  # the line of the package that raised it
    outside: list[str] = field(default_factory=list)  # what it did beyond its folder

    def __str__(self) -> str:
        given = ", ".join(f"{k}={v}" for k, v in self.hostile.items())
        return f"{self.name}({given}) → {self.kind}: {self.told}{f'  at {self.where}' if self.where else ''}"


# ---------------------------------------------------------------- what is public

def public() -> dict[str, Callable]:
    """Name → function, class or method: all that modules offer, but for the studies and the command line."""
    found = {}
    for info in pkgutil.iter_modules(gan_course.__path__):
        if info.ispkg or info.name.startswith("_"): continue
        module = importlib.import_module(f"gan_course.{info.name}")
        for name in getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]:
            thing = getattr(module, name)
            if getattr(thing, "__module__", None) != module.__name__: continue
            if inspect.isclass(thing):
                if issubclass(thing, BaseException): continue
                found[f"{info.name}.{name}"] = thing
                for part in vars(thing):
                    method = getattr(thing, part)  # bound, if it is one of the class
                    label = f"{name}.{part}"
                    if part[0] != "_" and part != "forward" and getattr(method, "__qualname__", "") == label:
                        found[f"{info.name}.{label}"] = method
            elif callable(thing): found[f"{info.name}.{name}"] = thing
    return found


def called(thing: Callable, arguments: dict) -> object:
    """Call something with its arguments by name; what waits to be asked for or entered is asked for and entered."""
    given, signature = dict(arguments), inspect.signature(thing)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL and not isinstance(given.get(name, ()), list | tuple):
            given[name] = (given[name],)
        if parameter.kind is parameter.VAR_KEYWORD and not isinstance(given.get(name, {}), dict):
            given[name] = {"more": given[name]}
    bound = inspect.BoundArguments(signature, {k: given[k] for k in signature.parameters if k in given})
    result = thing(*bound.args, **bound.kwargs)
    if isinstance(result, contextlib.AbstractContextManager) and hasattr(result, "gen"):
        with result as entered:
            if isinstance(entered, Path): entered.write_bytes(b"x")  # a file to write
            return entered
    if inspect.isgenerator(result): return [item for item, _ in zip(result, range(5), strict=False)]
    return result


# ---------------------------------------------------------------- one call in a fork

def in_package(error: BaseException) -> str:
    """The innermost line of the package in a traceback."""
    lines = [f for f in traceback.extract_tb(error.__traceback__)
             if "gan_course" in f.filename and not f.filename.endswith("guards.py")]
    return f"{Path(lines[-1].filename).name}:{lines[-1].lineno} {lines[-1].name}" if lines else ""


def readable(text: str) -> bool:
    """Whether a message is one line that can be printed and read."""
    with contextlib.suppress(UnicodeEncodeError):
        return 0 < len(text.encode()) and len(text) <= LETTERS and all(c.isprintable() for c in text)
    return False


def told(value: object, depth: int = 0) -> str:
    """A result in a line, so that a person sees nonsense."""
    if isinstance(value, torch.Tensor):
        text = f"{'x'.join(map(str, value.shape))} {str(value.dtype)[6:]}"
        if value.is_meta or value.layout is not torch.strided or not value.numel(): return f"<{text}>"
        x = value.detach().cpu()
        x = torch.view_as_real(x) if x.is_complex() else x
        x = x.double()
        return f"<{text} {x.min():.4g}…{x.max():.4g} mean {x.mean():.4g}>"
    if isinstance(value, np.ndarray): return f"<array {value.shape} {value.dtype}>"
    if isinstance(value, dict) and depth < 2:
        return f"{{{', '.join(f'{k}: {told(v, depth + 1)}' for k, v in list(value.items())[:12])}}}"[:400]
    if isinstance(value, list | tuple) and depth < 2:
        return f"{type(value).__name__} of {len(value)}: [{', '.join(told(v, depth + 1) for v in value[:6])}]"[:400]
    if isinstance(value, str | bytes | int | float | bool | None | Path):
        try: return ascii(value)[:120]
        except ValueError: return "a number of very many digits"
    return f"<{type(value).__name__}>"


def judged(outcome: Outcome, work: Callable[[], object]) -> None:
    """Do it, and put down what came of it."""
    try:
        outcome.told, outcome.kind = told(work()), "returned"
    except BaseException as error:
        right = isinstance(error, InputError | TypeError)
        try: message = str(error)
        except ValueError: message = "an error that cannot be printed"
        outcome.where = in_package(error)
        if not right: outcome.kind = "memory" if "can't allocate memory" in f"{error!r}" else "other"
        elif not readable(message): outcome.kind = "message"
        else: outcome.kind = "InputError" if isinstance(error, InputError) else "TypeError"
        kind = "" if outcome.kind in ("InputError", "TypeError") else f"{type(error).__name__}: "
        outcome.told = kind + ascii(message)[:500]


def watch(place: Path, seen: list[str]) -> None:
    """From now on this process writes in one folder only, starts no program and reaches no network."""
    def inside(path) -> bool:
        if isinstance(path, int) or path is None: return True
        path = os.path.realpath(os.fsdecode(path))
        return path.startswith((str(place), "/dev/")) or "/proc/" in path

    def hook(event, args):
        if event in NETWORK: raise PermissionError(13, "the network is kept out by the fuzzer")
        if event in PROGRAMS: problem = f"{event} {args[:2]!r:.100}"
        elif event == "open":
            path, mode, flags = args
            writes = any(c in mode for c in "wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
            if not writes or inside(path): return
            problem = f"writes {path!r}"
        elif event in WRITES:
            paths = args[:2] if event in ("os.rename", "os.link") else args[1:2] if event == "os.symlink" else args[:1]
            if all(isinstance(p, str | bytes | os.PathLike | int) and inside(p) for p in paths): return
            problem = f"{event} {args!r:.200}"
        else: return
        seen.append(problem)
        raise PermissionError(13, "kept inside its folder by the fuzzer")

    sys.addaudithook(hook)


def surround(place: Path) -> None:
    """An empty folder as the working folder, home, cache and place of temporary files; limits of memory and disk."""
    os.chdir(place)
    os.environ.update({name: str(place) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME")})
    os.environ["GAN_COURSE_DATA"] = str(place/"root")
    tempfile.tempdir, sys.dont_write_bytecode = None, True
    room = psutil.Process().memory_info().vms + 3 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def in_fork(base: Path, number: int, name: str, work: Callable[[Path, Outcome, Callable], None]) -> int:
    """Begin `work(folder, outcome, keep)` in a fork; `keep()` writes the outcome down as it is. Its process number."""
    pid = os.fork()
    if pid: return pid
    status = 1
    try:
        place, outcome = base/f"{number}", Outcome(name, {})
        place.mkdir()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2): os.dup2(nowhere, stream)
        file = os.open(base/f"{number}.json", os.O_WRONLY | os.O_CREAT)

        def keep():
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(asdict(outcome)).encode(), 0)
        surround(place)
        watch(place, outcome.outside)
        work(place, outcome, keep)
        keep()
        status = 0
    except BaseException:
        (base/f"{number}.trouble").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def finished(base: Path, number: int, name: str, status: int, grown: int, late: bool) -> Outcome:
    """The outcome of a fork that has ended."""
    file, trouble = base/f"{number}.json", base/f"{number}.trouble"
    try: outcome = Outcome(**json.loads(file.read_text()))
    except (OSError, ValueError): outcome = Outcome(name, {}, told=f"signal {status & 127}, status {status >> 8}")
    if trouble.exists(): outcome.told = trouble.read_text()[-600:]
    if late: outcome.kind = "hang"
    elif grown > MEMORY: outcome.kind, outcome.told = "memory", f"{grown >> 20} MiB; {outcome.told}"
    elif outcome.outside: outcome.kind, outcome.told = "outside", f"{outcome.outside}; {outcome.told}"
    for leftover in (file, trouble): leftover.unlink(missing_ok=True)
    shutil.rmtree(base/f"{number}", ignore_errors=True)
    return outcome


def in_forks(works: list[tuple[str, Callable]], base: Path, at_once: int = 1) -> Iterator[Outcome]:
    """All of them, some at once; what hangs is ended. `base` is a folder of temporary files."""
    waiting, running = list(enumerate(works))[::-1], {}
    here = psutil.Process().memory_info().rss
    while waiting or running:
        while waiting and len(running) < at_once:
            number, (name, work) = waiting.pop()
            running[in_fork(base, number, name, work)] = number, name, time.monotonic()
        for pid, (number, name, began) in list(running.items()):
            late = time.monotonic() - began > SECONDS
            if late: os.kill(pid, signal.SIGKILL)
            ended, status, use = os.wait4(pid, 0 if late else os.WNOHANG)
            if not ended: continue
            del running[pid]
            yield finished(base, number, name, status, use.ru_maxrss * 1024 - here, late)
        time.sleep(.001)


# ---------------------------------------------------------------- hostile calls

def prepare(base: Path) -> None:
    """What is done once, before the first fork."""
    from . import things

    torch.set_num_threads(1)  # threads do not survive a fork
    things.warm_up()
    things.Things.trained = things.train_once(base)


def takes_something(name: str) -> bool:
    """Whether there is an argument that could be hostile."""
    return bool(set(inspect.signature(public()[name]).parameters) - {"self"})


def in_turn(names: list[str], calls: int) -> Iterator[tuple[int, str]]:
    """Number and name of each call."""
    return ((i, names[i % len(names)]) for i in range(calls if names else 0))


def call(name: str, seed: str | None = None) -> Callable[[Path, Outcome, Callable], None]:
    """The valid call of this name, or with a seed one with one or two hostile arguments; to be made in a fork."""
    def work(place: Path, outcome: Outcome, keep: Callable) -> None:
        from . import calls, hostile

        thing, things = public()[name], calls.Things(place)
        arguments = calls.CALLS[name](things)
        if seed is not None:
            chance = random.Random(f"{seed} {name}")
            names = [k for k in inspect.signature(thing).parameters if k != "self"]
            for key in chance.sample(names, min(len(names), 1 if chance.random() < .7 else 2)):
                outcome.hostile[key], arguments[key] = hostile.instead(arguments.get(key), things, chance)
            keep()  # should it hang
        judged(outcome, lambda: called(thing, arguments))
    return work
