"""`gan-course doctor`: what the course finds here, and what to do about what would get in its way."""
from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from gan_course.cli._doctor_gan import little_gan, memory
from gan_course.cli._surroundings import options, say

VERSIONS = ("torch", "torchvision", "numpy", "pillow", "accelerate", "safetensors")
EXTRAS = {"lab": ("jupyterlab", "ipywidgets", "anywidget"), "export": ("onnx", "onnxruntime")}
ROOM = 2e9  # bytes: CUB-200-2011 and what is made of it want about as much


@dataclass
class DoctorOptions:
    """Versions, device, memory, threads, precision and the cache, and what to do where something is in the way."""

    gan: bool = False
    """Train a small GAN for 20 seconds besides, and save what it makes as _runs/doctor.png."""


def doctor(args: list[str]) -> None:
    """`gan-course doctor`: status 0 if all is well, 1 if there is something to do."""
    chosen = options(DoctorOptions, "doctor", args)
    from gan_course.processes import leftovers

    to_do: list[str] = []
    parts = dict(versions=versions, device=device, memory=memory, threads=threads, precision=precision, cache=cache,
                 extras=extras, output=output) | (dict(gan=little_gan) if chosen.gan else {})
    for name, look in parts.items():
        try: text = look(to_do)
        except Exception as e:  # the doctor is called where things are broken: one part does not hide the others
            text = f"cannot be told ({type(e).__name__}: {e})"
            to_do.append(f"{name} {text}")
        say(f"{name:10} {text}")
    if left := leftovers(): to_do.append(left)
    for text in to_do: say(f"to do: {' '.join(text.split())}")
    if to_do: sys.exit(1)
    print("OK")


def versions(to_do: list[str]) -> str:
    """Of the course, of Python and of what it stands on."""
    import platform
    from importlib import metadata

    import torch

    from gan_course import __version__

    def known(name):
        if name == "torch": return torch.__version__  # with what it was built for
        try: return metadata.version(name)
        except metadata.PackageNotFoundError:
            to_do.append(f"{name} is not installed: pip install gan-course")
            return "missing"
    others = ", ".join(f"{name} {known(name)}" for name in VERSIONS)
    return f"gan-course {__version__}, Python {platform.python_version()}, {others}"


def here():
    """The device of a training."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def device(to_do: list[str]) -> str:
    """Its name."""
    import platform

    import torch

    kind = here().type
    return f"{kind}, {torch.cuda.get_device_name() if kind == 'cuda' else platform.machine()}"


def threads(to_do: list[str]) -> str:
    """How many torch computes with, and what says so."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n, told = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    if n > cores:
        to_do.append(f"torch computes with {n} threads on {cores} cores, which is slow: set OMP_NUM_THREADS={cores}")
    return f"{n} on {cores} cores{f' (OMP_NUM_THREADS={told})' if told else ''}"


def precision(to_do: list[str]) -> str:
    """What --precision auto would choose for the networks of lesson 05."""
    from gan_course.dcgan import dcgan
    from gan_course.settings import choose_precision

    G, D = dcgan(32, 3, 100, 64, "fc")
    chosen = choose_precision(G, D, 16, here())
    return f"auto means {chosen} here, for a DCGAN of 32×32 images; each training tries it anew"


def cache(to_do: list[str]) -> str:
    """Where data and decoded images lie, how large they are, and whether more can be written there."""
    import shutil

    from gan_course.storage import data_root

    root = data_root()
    there = next(p for p in [root / "cache", root, *root.absolute().parents] if os.path.lexists(p))
    if not writable(there):
        to_do.append(f"nothing can be written in {there}, so that images are decoded anew each time: "
                     "set GAN_COURSE_DATA to a folder that can be written")
    free = shutil.disk_usage(there if there.is_dir() else there.parent).free
    if free < ROOM:
        to_do.append(f"{size(free)} are free for {root}: make room there, or set GAN_COURSE_DATA to another disk")
    entries = [p for p in (root / "cache").glob("*") if p.suffix in (".npy", ".safetensors")]
    return (f"{root}: {size(bytes_of(root))}, of which cache/ has {size(bytes_of(root / 'cache'))} in {len(entries)} "
            f"entries and may be removed; {size(free)} free")


def writable(folder: Path) -> bool:
    """Tried, because permissions do not tell of disks that are read-only or full."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder) as f: f.write(b" ")
    except OSError: return False
    return True


def bytes_of(folder: Path) -> int:
    """Bytes of all files below a folder; other processes may remove some meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try: total += os.lstat(os.path.join(place, name)).st_size
            except OSError: pass
    return total


def size(n: float) -> str:
    """1234567 → 1.2 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000: return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def extras(to_do: list[str]) -> str:
    """What is installed besides."""
    from importlib import util

    def state(name):
        missing = [module for module in EXTRAS[name] if util.find_spec(module) is None]
        return f"[{name}] " + (f"not here (pip install 'gan-course[{name}]')" if missing else "installed")
    return ", ".join(map(state, EXTRAS))


def output(to_do: list[str]) -> str:
    """How what is printed is encoded."""
    encoding = (getattr(sys.stdout, "encoding", None) or "unknown").lower()
    return encoding if encoding.startswith("utf") else f"{encoding}; what it cannot print becomes ?"
