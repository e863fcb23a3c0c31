"""Breaks of the code, each with the wrong belief behind it, and the test that must fail: who guards the guards?

    python tests/mutants.py [FILTER]      only those whose module, edit, test or belief contains FILTER

Torch is imported once. Each mutant is judged in a fork of this process: a temporary folder holds the package as links,
but for the one edited file, and stands first on the path, so that pytest in the fork, and every process that a test
starts, imports from it. First all tests that are named run without an edit: a test that always fails proves nothing.
Exit status 1 if a mutant survives or cannot be judged. `test_mutants.py` checks in a moment that every edit fits.
"""
import os

for pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{pool}_NUM_THREADS", "1")  # before torch is imported: threads do not survive a fork

import contextlib
import importlib
import json
import resource
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tqdm import tqdm

from beliefs import PACKAGE, ROOT, Mutant, all_mutants, edited

WORKERS = min(4, os.cpu_count() or 1)
SECONDS = 300  # after so long a test is ended
MEMORY = 8 << 30  # bytes: a mutant that asks for a giant must not take the machine with it
SURVIVED, CAUGHT, BROKEN, SKIPPED = 0, 1, 90, 91  # exit status of a fork
WORDS = {
    SURVIVED: "SURVIVED",
    CAUGHT: "caught",
    BROKEN: "BROKEN: with the edit the code does not run at all",
    SKIPPED: "SKIPPED: its test needs what is not here",
}
LIBRARIES = (  # what the package and its tests import, so that no fork has to
    "accelerate", "anywidget", "ipywidgets", "matplotlib.pyplot", "nbformat", "numpy", "PIL.Image", "platformdirs",
    "prdc", "psutil", "pytorch_grad_cam", "safetensors.torch", "scipy.linalg", "scipy.stats", "torch",
    "torch._dynamo", "torch.utils.tensorboard", "torch_fidelity", "torchvision", "tqdm.auto", "tyro",
)


@dataclass
class Job:
    """Tests to run in a fork, with an edit or without one."""

    tests: list[str]
    mutant: Mutant | None = None
    verdict: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)  # test → "passed", "failed" or "skipped"
    log: str = ""

    def note(self, place: Path, code: int | None) -> None:
        """How the fork ended: with an exit status, or None if it was ended because it took too long."""
        if code is None:
            self.verdict = "NOT JUDGED: its test was not done in time"
        else:
            self.verdict = WORDS.get(code, f"BROKEN: the fork ended with status {code}")
        if (place / "log").exists():
            self.log = (place / "log").read_text(errors="replace")
        if (place / "outcomes.json").exists():
            self.outcomes = json.loads((place / "outcomes.json").read_text())


def function(test: str) -> str:
    """The function of a test without its parameters: `test_toy.py::test_x[ring]` → `test_toy.py::test_x`."""
    return test.split("[")[0].removeprefix("tests/")


class Outcomes:
    """A plugin of pytest: how each test ended, and whether one failed because the edit makes no sense."""

    def __init__(self):
        self.of, self.senseless = {}, False

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:  # of a test with parameters the worst outcome counts
            order, name = ("skipped", "passed", "failed"), function(report.nodeid)
            self.of[name] = max(self.of.get(name, "skipped"), report.outcome, key=order.index)

    def pytest_exception_interact(self, call):
        self.senseless |= issubclass(call.excinfo.type, (NameError, SyntaxError, ImportError))


def links(source: Path, place: Path, mutant: Mutant, text: str) -> None:
    """A folder of links to what is in `source`, but for the edited file and what Python has compiled of it."""
    place.mkdir()
    for entry in source.iterdir():
        if entry == mutant.path:
            (place / entry.name).write_text(text, encoding="utf-8")
        elif entry in mutant.path.parents or entry.name == "__pycache__":
            links(entry, place / entry.name, mutant, text)
        elif not (source.name == "__pycache__" and entry.name.startswith(f"{mutant.path.stem}.")):
            (place / entry.name).symlink_to(entry)


def run_tests(job: Job, place: Path) -> int:
    """Run the tests of a job in this process, a fork; the status with which it should end."""
    home, options = ROOT, ["-q", "-p", "no:cacheprovider", "--basetemp", str(place / "tmp")]
    if job.mutant is not None:
        home, options = place, [*options, "-x"]
        sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
        source = job.mutant.path.read_text(encoding="utf-8")
        links(PACKAGE, place / "gan_course", job.mutant, edited(job.mutant, source))
    sys.path.insert(0, str(home))
    os.environ["PYTHONPATH"] = str(home)
    outcomes = Outcomes()
    status = pytest.main([*options, *(f"tests/{test}" for test in job.tests)], [outcomes])
    (place / "outcomes.json").write_text(json.dumps(outcomes.of))
    if outcomes.senseless or status not in (SURVIVED, CAUGHT):
        return BROKEN
    return int(status) if status or "passed" in outcomes.of.values() else SKIPPED


def begin(job: Job, place: Path) -> int:
    """Fork; the process id of the child, which leads a group of its own and writes what it says to place/log."""
    if pid := os.fork():
        return pid
    status = BROKEN
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        with open(place / "log", "w") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
        os.chdir(ROOT)
        status = run_tests(job, place)
    except BaseException as e:
        print(repr(e), flush=True)
    finally:
        sys.stdout.flush()
        os._exit(status)


def stop(pid: int) -> None:
    """End a fork and all that its test has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def judged(jobs: list[Job], seconds: float = SECONDS) -> Iterator[Job]:
    """Each job as it is done, WORKERS of them at a time."""
    waiting, running = deque(jobs), {}
    while waiting or running:
        while waiting and len(running) < WORKERS:
            job, folder = waiting.popleft(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            running[begin(job, Path(folder.name))] = job, folder, time.monotonic() + seconds
        time.sleep(.02)
        for pid, (job, folder, deadline) in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done and time.monotonic() < deadline:
                continue
            stop(pid)
            if not done:
                os.waitpid(pid, 0)
            job.note(Path(folder.name), os.waitstatus_to_exitcode(status) if done else None)
            folder.cleanup()
            del running[pid]
            yield job


def outcomes_without_edit(names: set[str]) -> dict[str, str]:
    """How each of these tests ends as the code stands; a test that cannot be run is not there."""
    files = sorted({name.split("::")[0] for name in names})
    jobs = [Job(sorted(name for name in names if name.startswith(f"{file}::"))) for file in files]
    for job in tqdm(judged(jobs, 3 * SECONDS), "tests without an edit", len(jobs), unit="file"):
        if "failed" in job.outcomes.values() or not job.outcomes:
            tqdm.write(job.log[-2000:])
    return {test: outcome for job in jobs for test, outcome in job.outcomes.items()}


def judge(mutants: list[Mutant]) -> list[Job]:
    """What became of each mutant."""
    outcomes = outcomes_without_edit({m.test for m in mutants})
    refusals = {
        "passed": "",
        "failed": "NOT JUDGED: its test fails without the edit, too",
        "skipped": WORDS[SKIPPED],
        "absent": "NOT JUDGED: its test cannot be run",
    }
    jobs = [Job([m.test], m, refusals[outcomes.get(function(m.test), "absent")]) for m in mutants]
    left = [job for job in jobs if not job.verdict]
    for job in tqdm(judged(left), "mutants", len(left), unit="mutant"):
        if job.verdict != WORDS[CAUGHT]:
            tqdm.write(f"{job.verdict}: {job.tests[0]}")
    return jobs


def report(mutants: list[Mutant], jobs: list[Job], seconds: float) -> None:
    """Print what was not caught, and the sum."""
    missed = [(m, job) for m, job in zip(mutants, jobs, strict=True) if job.verdict != WORDS[CAUGHT]]
    for m, job in missed:
        print(f"\n{job.verdict}\n  belief  {m.belief}\n  edit    {m.file}: {m.old} → {m.new}\n  test    {m.test}")
        if job.verdict.startswith("BROKEN"):
            print(job.log[-1500:])
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = spent.ru_utime + spent.ru_stime
    caught = len(jobs) - len(missed)
    print(f"\n{caught} of {len(jobs)} caught, in {seconds / 60:.1f} minutes ({cpu:.0f} s of CPU)")


def main(wanted: str = "") -> int:
    began = time.monotonic()
    tqdm.monitor_interval = 0  # no thread: this process forks
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    mutants = [m for m in all_mutants() if wanted in f"{m.file} {m.old} {m.test} {m.belief}"]
    jobs = judge(mutants)
    report(mutants, jobs, time.monotonic() - began)
    return 0 if all(job.verdict in (WORDS[CAUGHT], WORDS[SKIPPED]) for job in jobs) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
