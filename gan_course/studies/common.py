"""What the studies share: options, places, a pool of processes, results as JSON that says how it was made."""
import concurrent.futures
import functools
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

import gan_course
from gan_course.core import InputError
from gan_course.dcgan import build_model
from gan_course.runs import Run
from gan_course.storage import atomic_write


@dataclass
class StudyOptions:
    """Options that every study has."""

    out: Path = Path("nbs/data")  # folder of the results; the default is right at the top of a clone
    runs: Path = Path("_runs/studies")  # folder of the runs
    jobs: int = 2  # runs at once, each with a share of the cores: two at once finish sooner than one after the other
    tiny: bool = False  # everything at toy size, on toy birds, into a temporary folder: does the study work?


Options = TypeVar("Options", bound=StudyOptions)


def parsed(
    options: type[Options],
    command: str,  # as it is typed
    about: str | None,  # what it does
) -> Options:
    """The options of a command as its line gives them, and the places they mean."""
    import tyro

    o = tyro.cli(options, prog=command, description=about)
    if o.jobs < 1:
        raise InputError(f"--jobs is {o.jobs}: 1 or more runs can be done at once")
    if o.tiny:
        place = Path(tempfile.mkdtemp(prefix="gan-course-study-"))
        os.environ["GAN_COURSE_DATA"] = str(place/"data")  # statistics of toy size are not kept with the others
        o.out, o.runs, o.jobs = place/"results", place/"runs", 1
        o.out.mkdir()
        print(f"toy size, in {place}")
    if not o.out.is_dir():
        raise InputError(f"there is no folder {o.out} for the results: begin at the top of a clone, or give --out")
    return o


def run_command(
    main: Callable[[], None],  # the study
) -> None:
    """Run a study; a wrong option is one line and exit status 2, as in `gan-course`."""
    try:
        main()
    except InputError as e:
        print(f"{Path(sys.argv[0]).stem}: {e}", file=sys.stderr)
        sys.exit(2)


def folder_name(
    name: str,  # of a run, for people
) -> str:
    """The name of its folder: letters, digits and hyphens."""
    return "".join(c if c.isalnum() else "-" for c in name)


def in_processes(
    work: Callable,  # function of one job; goes to other processes, so it stands in a module
    jobs: Iterable,
    at_once: int,  # processes; with 1 there is none but this
) -> Iterator:  # what `work` gave of each job, as it is done
    """Do jobs side by side, each process with its share of the cores."""
    if at_once == 1:
        yield from map(work, jobs)
        return
    share = max(1, (os.cpu_count() or 1) // at_once)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(at_once, context, torch.set_num_threads, (share,)) as pool:
        for job in concurrent.futures.as_completed([pool.submit(work, job) for job in jobs]):
            yield job.result()


def read_report(file: Path) -> dict:
    """The results that were written, or {}; files of old that are a list of rows count as such."""
    if not file.exists():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return dict(rows=content) if isinstance(content, list) else content


def write_report(
    file: Path,
    command: str,  # that makes these results
    options: StudyOptions,
    **content,  # the results
) -> None:
    """Results as JSON, a row on each line; `made` tells of every session that added to them."""
    session, made = how_made(command, options), read_report(file).get("made", [])
    if session not in made:
        made = [*made, session]
    lines = []
    for key, value in (dict(command=command) | content | dict(made=made)).items():
        lines.append(f"{json.dumps(key)}: {_in_lines(value)}")
    with atomic_write(file) as part:
        part.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


def _in_lines(value) -> str:
    """JSON with each row of a list of rows on its own line."""
    if not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return json.dumps(value, ensure_ascii=False)
    rows = ",\n".join(f" {json.dumps(row, ensure_ascii=False)}" for row in value)
    return f"[\n{rows}\n]"


def how_made(command: str, options: StudyOptions) -> dict:
    """By what, when, from which commit, with which versions and on what hardware."""
    at_once = options.jobs
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return dict(
        command=command + " --tiny" * options.tiny,
        date=datetime.now().astimezone().date().isoformat(), commit=_commit(),
        versions=dict(gan_course=gan_course.__version__, torch=torch.__version__, python=platform.python_version()),
        hardware=dict(machine=platform.machine(), processor=_processor(), cores=os.cpu_count(), gpu=gpu),
        jobs=at_once, threads=torch.get_num_threads() if at_once == 1 else max(1, (os.cpu_count() or 1) // at_once))


@functools.cache  # of the beginning: the results that are written make the clone dirty
def _commit() -> str | None:
    """The commit of the clone that the package lies in, "dirty" if more than that; None outside of one."""
    top = Path(gan_course.__file__).resolve().parents[1]
    if not (top/".git").exists():
        return None
    command = ("git", "describe", "--always", "--dirty", "--exclude=*")
    try:
        return subprocess.run(command, cwd=top, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    """The name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()


def untrained(run: Run) -> nn.Module:
    """The discriminator of a run as it was before training."""
    shape = {k: v for k, v in run.info["model"].items() if k != "name"}
    return build_model(run.config.model, run.config.seed, **shape)[1].eval()
