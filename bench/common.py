"""What the benches share: options, timers that take turns, memory, and one layout of the result.

Each `python bench/NAME.py` takes `--out`, `--tiny` and `--threads`; `--help` shows what it adds.
"""
import contextlib
import dataclasses
import datetime
import gc
import importlib.metadata
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import psutil
import torch
import tyro

ROOT = Path(__file__).resolve().parents[1]
FLAGS = "avx2", "avx512f", "avx512_bf16", "amx_bf16"  # what decides how quick bfloat16 is on a CPU


@dataclass
class Options:
    """What every bench can be told; a bench adds fields, and in TINY_SIZES the sizes that `--tiny` sets."""
    TINY_SIZES: ClassVar[dict[str, Any]] = {}
    out: Path|None = None  # file for the result as JSON, which is printed in any case
    tiny: bool = False  # small sizes, toy birds, no weights to fetch: to try the bench; its figures mean nothing
    threads: int = min(2, os.cpu_count() or 1)  # of torch


O = TypeVar("O", bound=Options)


def read_options(kind: type[O], description: str|None) -> O:
    """The command line as an object of class `kind`; torch has its number of threads afterwards."""
    default = kind(**{"tiny": True, "threads": 1} | kind.TINY_SIZES) if "--tiny" in sys.argv else kind()
    options = tyro.cli(kind, description=description, default=default)
    torch.set_num_threads(options.threads)
    return options


def note(text):
    """Tell how far a long bench is; the result alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- time

class Timing(NamedTuple):
    """One call of a piece of work, or the mean of several."""
    wall: float  # seconds
    cpu: float  # seconds of all threads of this process
    result: Any  # of the last call


def clock(work: Callable[[], Any], n=1):
    """Call `work` n times; the Timing of one call."""
    result, wall, cpu = None, time.perf_counter(), time.process_time()
    for _ in range(n):
        result = work()
    return Timing((time.perf_counter() - wall) / n, (time.process_time() - cpu) / n, result)


def alternate(works: dict[str, Callable[[], Any]], rounds, n=1, warm_up=True):
    """name → its Timings, one a round: A B, then B A, and so on, so that a slow minute meets all of them alike."""
    if warm_up:
        for work in works.values():
            work()
    seen = {name: [] for name in works}
    for i in range(rounds):
        for name in (reversed(works) if i % 2 else works):
            seen[name].append(clock(works[name], n))
    return seen


def ratios(values, base):
    """How many times `base` it is, round by round: the median, the least and the most."""
    each = [a / b for a, b in zip(values, base, strict=True)]
    return dict(ratio=statistics.median(each), least=min(each), most=max(each))


# ---------------------------------------------------------------- memory

def resident():
    """MiB of memory that this process holds."""
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


@dataclass
class Memory:
    """Resident memory around a piece of work, in MiB."""
    before: float
    peak: float

    @property
    def growth(self): return self.peak - self.before


@contextlib.contextmanager
def watched_memory(every=.0005):
    """`with watched_memory() as memory:` looks at the memory each half millisecond; afterwards memory.peak stands."""
    memory, done, process = Memory(resident(), 0.), threading.Event(), psutil.Process()

    def look():
        while not done.is_set():
            memory.peak = max(memory.peak, process.memory_info().rss / 2**20)
            done.wait(every)
    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        done.set()
        watcher.join()
        memory.peak = max(memory.peak, process.memory_info().rss / 2**20)


def in_new_process(work, *args):
    """What work(*args) gives in a process that did nothing before; for memory, of which a process gives little back."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


# ---------------------------------------------------------------- the result

def commit():
    """The commit of the working tree, with "-dirty" if it was changed; None outside of git."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return None


def cpu():
    """Model of the CPU, and the flags of FLAGS that it has."""
    lines = []
    with contextlib.suppress(OSError):  # Linux has this file
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in reversed(lines)}  # of the first core
    has = facts.get("flags", "").split()
    return facts.get("model name") or platform.processor() or platform.machine(), [f for f in FLAGS if f in has]


def versions(peers):
    """Python, the package, torch and what it is compared with; "not installed" where it is missing."""
    found = {"Python": platform.python_version()}
    for name in ("gan_course", "torch", *peers):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def plain(value):
    """An option as JSON can hold it; a file of the repository without the place of the repository."""
    if isinstance(value, Path):
        return str(value.relative_to(ROOT) if value.is_relative_to(ROOT) else value)
    return value


def about(options, peers=()):
    """What a reader needs to make these figures again."""
    model, flags = cpu()
    hardware = dict(cpu=model, cores=psutil.cpu_count(), flags=flags)
    if torch.cuda.is_available():
        hardware["gpu"] = torch.cuda.get_device_name()
    chosen = {k: plain(v) for k, v in dataclasses.asdict(options).items() if k not in ("out", "tiny", "threads")}
    return dict(
        command=shlex.join(["python", f"bench/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        commit=commit(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions=versions(peers),
        hardware=hardware,
        threads=torch.get_num_threads(),
        tiny="yes: small sizes, the figures mean nothing" if options.tiny else "no",
        options=chosen)


def shown(value):
    """A value as a table shows it: four digits of a number."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value))
    return str(value)


def print_table(rows):
    """Rows of the same columns, as Markdown with its columns aligned."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    print("\n".join(lines))


def report(options, tables, peers=()):
    """Print where the figures come from, and each table (title → rows, or → name → row); with --out write them, too."""
    facts = about(options, peers)
    for name, value in facts.items():
        print(f"{name:9} {shown(value)}")
    for title, table in tables.items():
        print(f"\n{title}{' (tiny)' if options.tiny else ''}")
        print_table([{"": name, **row} for name, row in table.items()] if isinstance(table, dict) else table)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(dict(about=facts, **tables), indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(f"\nwritten to {options.out}")
