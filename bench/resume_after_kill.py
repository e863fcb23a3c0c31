"""Kill a training with SIGKILL at random moments, resume it, and compare it with one that was left alone.

    python bench/resume_after_kill.py [--start 20] [--training 20] [--resume 20] [--fid 20] [--two 20] [--epochs 8]

So many kills of each kind: before the first epoch is complete; while it trains (a copy is finished, the run itself is
resumed and killed again, until it is done); after a resume, before an epoch more is complete; while the FID is
measured; and of one of two processes, or of the torchrun that launched them. Every second kill waits, after its random
time, until a file is half written. Each run is then resumed, finished and compared bit for bit: last and best
checkpoint, kept epochs, latents, samples, TensorBoard's numbers, and the history but for its column `seconds`, which is
a measured time. Exit status 1 if anything differs. POSIX only: processes are forked.
"""
import functools
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# what training imports late is imported here once, so that the forked processes train from their first moment on
import accelerate  # noqa: F401
import psutil
import torch
import torch.utils.tensorboard
import torchvision  # noqa: F401
import tyro
from common import Options, clock, note, read_options, report
from PIL import Image  # noqa: F401
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_course.core import InputError
from gan_course.data import load_images
from gan_course.evaluation import fid_hook
from gan_course.locks import LOCK
from gan_course.runs import open_run, read_history
from gan_course.settings import TrainConfig
from gan_course.steps import generate
from gan_course.training import resume, train

logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each epoch that was written twice


@dataclass
class KillOptions(Options):
    TINY_SIZES = dict(start=1, training=2, resume=1, fid=1, two=1, epochs=5)
    threads: tyro.conf.Fixed[int] = 1  # a forked process may not use more
    start: int = 20  # kills before the first epoch is complete
    training: int = 20
    resume: int = 20  # after a resume, before the next epoch is complete
    fid: int = 20  # while the FID is measured
    two: int = 20  # of two processes under torchrun
    seed: int = 0  # of the moments
    epochs: int = 8  # of each run


@functools.cache
def birds():
    """Images to train on, and images held out."""
    return load_images("toy-birds", limit=400), load_images("toy-birds", "test", limit=64)


def settings(epochs):
    """A small run with everything that a run can write."""
    return TrainConfig(data="toy-birds", limit=400, base_channels=8, batch_size=32, epochs=epochs, ema=.9, samples=16,
                       precision="float32", keep_every=3)


def measure(training, row):
    """A number that stands for the FID, so that there is a best checkpoint: made from the weights, in no order."""
    return {"fid": float(generate(training.ema, training.latents).float().mean()) * 1e4 % 97, "kid": 0.}


def mark(place):
    """The file that stands while the FID of a run is measured."""
    return place.with_name(f"{place.name}.measuring")


def measured(place):
    """A hook that measures a distance for real, and says meanwhile that it does."""
    hook = fid_hook(birds()[0], 1, 500, "small", progress=False)

    def marked(training, row):
        mark(place).touch()
        numbers = hook(training, row)
        mark(place).unlink()
        return numbers
    marked.protocol = hook.protocol
    return marked


def go_on(place, epochs, fid):
    """What each process does: begin, or go on from what it finds."""
    images, held_out = birds()
    hooks = [measured(place)] if fid else []
    how: dict[str, Any] = dict(images=images, test_images=held_out, on_epoch_end=[*hooks, measure], progress=False)
    if (place/"config.json").exists():
        resume(place, epochs, **how)
    else:
        train(settings(epochs), place, **how)


def command(place, epochs):
    """The same as a command for two processes, which has no FID."""
    c = settings(epochs)
    if (place/"config.json").exists():
        what = ["--resume", place, "--epochs", epochs]
    else:
        same = ("data", "limit", "base_channels", "batch_size", "ema", "samples", "precision", "keep_every")
        what = [x for k in same for x in (f"--{k.replace('_', '-')}", getattr(c, k))]
        what += ["--epochs", epochs, "--out", place]
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, "-m", "gan_course", "train"]
    return [sys.executable, *map(str, [*two, *what])]


def start(place, epochs, kind):
    """Fork a process that goes on with the run; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if kind == "two":
            with open(place.with_name(f"{place.name}.log"), "a") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            arguments = command(place, epochs)
            os.execve(arguments[0], arguments, os.environ | {"OMP_NUM_THREADS": "1"})
        go_on(place, epochs, kind == "fid")
        os._exit(0)
    except InputError as e:
        note(f"failed: {e}")
    except BaseException as e:
        note(f"failed: {e!r}")
    finally:
        os._exit(1)


def finish(place, epochs, kind):
    """Go on with the run to its end."""
    if os.waitpid(start(place, epochs, kind), 0)[1]:
        log = place.with_name(f"{place.name}.log")
        sys.exit(f"{place.name} could not be finished\n{log.read_text()[-3000:] if log.exists() else ''}")


def half_written(place):
    """Is a file of the run being written at this moment?"""
    return any(p.name.endswith(".part") for p in [*place.glob(".*"), *place.glob("*/.*")])


def ended(pid):
    """Whether a child has ended; it is not forgotten."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def wait_until(seen, pid, longest):
    """Until something is seen, a process has ended, or so many seconds are over."""
    until = time.perf_counter() + longest
    while time.perf_counter() < until and not seen() and not ended(pid):
        pass


def complete(place):
    """The last complete epoch; None before the first checkpoint stands."""
    return open_run(place).epoch_of("last") if (place/"checkpoints/last.safetensors").exists() else None


def busy_with(place):
    """Where the process was killed, as its files tell."""
    if mark(place).exists():
        return "measuring the FID"
    parts = sorted(p.name.split(".")[1] for p in place.rglob(".*.part"))
    if parts:
        return f"writing {parts[0]}"
    if not (place/"config.json").exists():
        return "before config.json"
    done = complete(place)
    if done is None:
        return "before the first checkpoint"
    history = place/"history.csv"
    if history.exists() and len(read_history(history)) > done:
        return "between history and checkpoint"
    return "between samples and history" if max(open_run(place).epochs, default=0) > done else "training"


def tensorboard_numbers(run):
    """What TensorBoard shows: tag → [(epoch, value)]."""
    events = EventAccumulator(str(run.path/"events"), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag != "seconds"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def history_without_seconds(run):
    """The rows of the history without the one column that is a measured time."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.history]


def same_tensors(a, b):
    """Do two safetensors files hold the same tensors, bit for bit?"""
    x, y = load_file(a), load_file(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def other_files(a, b):
    """Files of tensors that two runs do not share."""
    checkpoints = {f"checkpoints/{p.name}" for run in (a, b) for p in run.path.glob("checkpoints/*")}
    for name in sorted({"latents.safetensors", *checkpoints}):
        files = a.path/name, b.path/name
        if not all(file.exists() for file in files):
            yield f"{name} is missing"
        elif not same_tensors(*files):
            yield name


def other_events(run):
    """Tags whose epochs in TensorBoard are not those of the history."""
    for tag, points in tensorboard_numbers(run).items():
        if [epoch for epoch, _ in points] != [row["epoch"] for row in run.history if row[tag] is not None]:
            yield f"events of {run.path.name}: {tag}"


def differences(a, b):
    """What is not the same in two runs; [] if they are equal."""
    found = list(other_files(a, b))
    distances = [run.path/"frechet-small.csv" for run in (a, b)]
    if len({file.read_text() if file.exists() else "" for file in distances}) > 1:
        found.append("frechet-small.csv")
    if history_without_seconds(a) != history_without_seconds(b):
        found.append("history.csv")
    if a.epochs != b.epochs or not all(torch.equal(a.samples(e), b.samples(e)) for e in a.epochs):
        found.append("samples")
    if tensorboard_numbers(a) != tensorboard_numbers(b):
        found.append("events")
    left = [p.name for name in ("*.part", LOCK) for p in b.path.rglob(name)]
    return [*found, *other_events(a), *other_events(b), *(f"left over: {name}" for name in left)]


# ---------------------------------------------------------------- the kinds of kills

@dataclass
class Lab:
    """Where runs are killed."""
    folder: Path
    o: KillOptions
    chance: random.Random
    whole: dict[str, Any]  # of each kind, a run that was left alone
    length: dict[str, float]  # seconds that it took

    def kill(self, place, kind, after, half_way, epochs=None):
        """Start or go on with a run; when `after(pid)` is over and perhaps a file half written, kill it.

        Who was killed, or "" if it was done before."""
        pid = start(place, epochs or self.o.epochs, kind)
        after(pid)
        if half_way:
            wait_until(lambda: half_written(place), pid, 1.)
        family = [psutil.Process(pid), *(psutil.Process(pid).children() if kind == "two" else [])]
        who = self.chance.randrange(len(family))
        if not ended(pid):
            family[who].kill()
        status = os.waitpid(pid, 0)[1]
        alive = psutil.wait_procs(family[1:], timeout=60)[1]
        if alive:
            sys.exit(f"{len(alive)} workers of {place} train on without their launcher")
        if not status:
            return ""
        if kind != "two" and not os.WIFSIGNALED(status):
            sys.exit(1)
        return ("launcher" if who == 0 else "worker") if kind == "two" else "process"

    def finished(self, place, kind):
        """Finish a killed run; in what it differs from the one that was left alone."""
        finish(place, self.o.epochs, kind)
        found = differences(self.whole[kind], open_run(place))
        shutil.rmtree(place)
        return found

    def some(self, seconds):
        """A random part of so many seconds, to wait."""
        wait = self.chance.uniform(0, seconds)
        return lambda pid: time.sleep(wait)


# each: the place of a killed run, or something false if the moment was not met
def at_start(lab, name, half_way):
    place = lab.folder/name
    killed = lab.kill(place, "start", lab.some(lab.length["start"] / lab.o.epochs), half_way)
    return killed and not complete(place) and place


def at_training(lab, name, half_way):
    living = lab.folder/"living"
    if not lab.kill(living, "training", lab.some(lab.length["training"] / 2), half_way):
        shutil.rmtree(living)  # there was nothing left to kill: the next kill meets a new run
        return None
    return shutil.copytree(living, lab.folder/name) if living.exists() else lab.folder/name


def at_resume(lab, name, half_way):
    place = lab.folder/name
    if not (lab.folder/"half").exists():
        finish(lab.folder/"half", lab.o.epochs // 2, "resume")
    shutil.copytree(lab.folder/"half", place)
    killed = lab.kill(place, "resume", lab.some(lab.length["resume"] / lab.o.epochs), half_way)
    return killed and complete(place) == lab.o.epochs // 2 and place


def at_fid(lab, name, half_way):
    place, epoch = lab.folder/name, lab.chance.randrange(lab.o.epochs)

    def measuring(pid):
        wait_until(lambda: complete(place) == epoch and mark(place).exists(), pid, 60)
        lab.some(.05)(pid)
    killed = lab.kill(place, "fid", measuring, False)
    return killed and mark(place).exists() and place


def at_two(lab, name, half_way):
    place, epoch = lab.folder/name, lab.chance.randrange(-1, lab.o.epochs - 1)

    def training(pid):
        wait_until(lambda: (place/"config.json").exists() and (complete(place) or 0) > epoch, pid, 100)
        lab.some(.5)(pid)
    killed = lab.kill(place, "two", training, half_way)
    return killed and (complete(place) or 0) < lab.o.epochs and place


KINDS: dict[str, Callable] = dict(start=at_start, training=at_training, resume=at_resume, fid=at_fid, two=at_two)


def kill_and_compare(lab, kind) -> Iterator[dict]:
    """A row for each kill of a kind."""
    wanted, number, done = getattr(lab.o, kind), 0, 0
    if not wanted:
        return
    whole = lab.folder/f"whole-{kind}"
    lab.length[kind] = clock(lambda: finish(whole, lab.o.epochs, kind)).wall
    lab.whole[kind] = open_run(whole)
    note(f"{kind}: a run of {lab.o.epochs} epochs takes {lab.length[kind]:.1f} s when left alone")
    while done < wanted:
        number += 1
        if number > 20 * wanted:
            sys.exit(f"{kind}: the moment is not met")
        place = KINDS[kind](lab, f"{kind}-{number}", number % 2)
        if not place:
            shutil.rmtree(lab.folder/f"{kind}-{number}", ignore_errors=True)
            continue
        done += 1
        row = {"kind": kind, "kill": done, "complete epochs": complete(place) or 0, "busy with": busy_with(place)}
        found = lab.finished(place, kind)
        yield row | {"bit-equal": "NO: " + ", ".join(found) if found else "yes"}
        note(f"{kind} {done}: {row['busy with']}, bit-equal: {'no' if found else 'yes'}")


def main():
    o = read_options(KillOptions, __doc__)
    birds()  # before the first fork
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), o, random.Random(o.seed), {}, {})
        rows = [row for kind in KINDS for row in kill_and_compare(lab, kind)]
    def equal(rows): return sum(row["bit-equal"] == "yes" for row in rows)
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in KINDS}
    title = f"{len(rows)} kills, each resumed: {equal(rows)} of {len(rows)} bit-equal to the run that was left alone"
    summary = {kind: {"kills": len(some), "bit-equal": equal(some)} for kind, some in kinds.items()}
    report(o, {title: summary, "each kill": rows}, peers=("accelerate", "safetensors"))
    sys.exit(equal(rows) < len(rows))


if __name__ == "__main__":
    main()
