"""`gan-course runs`, and the words for the protocol of an FID."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from gan_course.cli._surroundings import options

if TYPE_CHECKING:
    from gan_course.runs import Run


@dataclass
class RunsOptions:
    """The runs in a folder, a line each, and the ready runs that come with the package."""

    folder: Positional[Path] = Path("_runs")  # where to look


def runs(args: list[str]) -> None:
    """`gan-course runs`."""
    o = options(RunsOptions, "runs", args)
    from gan_course.core import InputError
    from gan_course.runs import ready_folder

    if not o.folder.is_dir() and o.folder != RunsOptions.folder: raise InputError(f"there is no folder {o.folder}")
    print(f"{'run':32} {'data':14} {'model':8} {'size':>5} {'epochs':>8} {'images':>11} {'G loss':>7}  best FID")
    for place in (o.folder, ready_folder()):
        for config in sorted(place.glob("*/config.json")):
            print(line_of(config.parent, place == o.folder))


def line_of(folder: Path, own: bool) -> str:
    """A line about a run, or about what is wrong with it: a stranger's folder may fail in any way, the others go on."""
    from gan_course.core import InputError
    from gan_course.guards import in_one_line
    from gan_course.runs import open_run

    try: return run_line(open_run(folder), own)
    except InputError as e: return in_one_line(f"{folder.name:32} {e}")
    except Exception as e: return in_one_line(f"{folder.name:32} cannot be read: {type(e).__name__}: {e}")


def run_line(run: Run, own: bool) -> str:
    """A line about a run."""
    from gan_course.guards import printable

    last = run.history[-1] if run.history else {}
    loss, images = last.get("g_loss"), last.get("images") or 0
    name = str(run.path) if own else f"{run.path.name} (ready)"
    epochs = f"{last.get('epoch', 0):>3}/{run.config.epochs:<4}"
    data, model = run.info["data"]["name"][:40], run.config.model[:40]
    return printable(f"{name:32} {data:14} {model:8} {run.img_size:>5} {epochs} "
                     f"{images:>11,} {'-' if loss is None else f'{loss:.3f}':>7}  {best_fid(run)}")


def best_fid(run: Run) -> str:
    """The least FID of the history with its protocol: FID 42.1 (10k generated, 50k real train, inception; epoch 12)."""
    epoch = run.best_epoch
    if epoch is None: return "-"
    return f"FID {run.history[epoch - 1]['fid']:.1f} ({protocol(run)}; epoch {epoch})"


def protocol(run: Run) -> str:
    """How the FIDs of a run are measured, in short."""
    p = run.info.get("fid") or {}
    if not {"n_fake", "n_real", "split", "extractor"} <= set(p): return "protocol not recorded"
    words = f"{short(p['n_fake'])} generated, {short(p['n_real'])} real {p['split'] or 'images'}, {p['extractor']}"
    return words if len(words) < 100 else f"{words[:99]}…"


def short(n: int) -> str:
    """50000 → 50k."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
