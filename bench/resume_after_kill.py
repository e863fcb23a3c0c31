"""Kill a training with SIGKILL at random moments, resume it, and compare it with one that was left alone.

    python bench/resume_after_kill.py [--kills 20] [--seed 0] [--epochs 8]

After each kill a copy of the run is resumed, finished and compared bit for bit: last and best checkpoint, kept
epochs, latents, samples, TensorBoard's numbers, and the history but for its column `seconds`, which is a measured
time. The run itself is resumed and killed again, until it is done; then another begins. Every second kill waits,
after its random time, until a file is half written. Exit status 1 if anything differs. POSIX only: processes are
forked.
"""
import functools
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# what training imports late is imported here once, so that the forked processes train from their first moment on
import accelerate  # noqa: F401
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
from gan_course.runs import open_run, read_history
from gan_course.settings import TrainConfig
from gan_course.steps import generate
from gan_course.training import resume, train

logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each epoch that was written twice


@dataclass
class KillOptions(Options):
    TINY_SIZES = dict(kills=4, epochs=5)
    threads: tyro.conf.Fixed[int] = 1  # a forked process may not use more
    kills: int = 20
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


def go_on(place, epochs):
    """What each process does: begin, or go on from what it finds."""
    images, held_out = birds()
    how: dict[str, Any] = dict(images=images, test_images=held_out, on_epoch_end=[measure], progress=False)
    if (place/"config.json").exists():
        resume(place, **how)
    else:
        train(settings(epochs), place, **how)


def start(place, epochs):
    """Fork a process that goes on with the run; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        go_on(place, epochs)
        os._exit(0)
    except InputError as e:
        note(f"failed: {e}")
    except BaseException as e:
        note(f"failed: {e!r}")
    finally:
        os._exit(1)


def finish(place, epochs):
    """Go on with the run to its end."""
    if os.waitpid(start(place, epochs), 0)[1]:
        sys.exit(f"{place.name} could not be finished")


def half_written(place):
    """Is a file of the run being written at this moment?"""
    return any(p.name.endswith(".part") for p in [*place.glob(".*"), *place.glob("*/.*")])


def wait_for_a_half_written_file(place, longest=1.):
    """Until a file is being written: the moments that matter most take little of the time."""
    until = time.perf_counter() + longest
    while time.perf_counter() < until and not half_written(place):
        pass


def complete(place):
    """The last complete epoch; None before the first checkpoint stands."""
    return open_run(place).epoch_of("last") if (place/"checkpoints/last.safetensors").exists() else None


def busy_with(place):
    """Where the process was killed, as its files tell."""
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
    if history_without_seconds(a) != history_without_seconds(b):
        found.append("history.csv")
    if a.epochs != b.epochs or not all(torch.equal(a.samples(e), b.samples(e)) for e in a.epochs):
        found.append("samples")
    if tensorboard_numbers(a) != tensorboard_numbers(b):
        found.append("events")
    return [*found, *other_events(a), *other_events(b), *(f"left over: {p.name}" for p in b.path.rglob("*.part"))]


def kill_one(place, epochs, wait, half_way):
    """Start or go on with a run and kill it after `wait` seconds; False if it was done before."""
    pid = start(place, epochs)
    time.sleep(wait)
    if half_way:
        wait_for_a_half_written_file(place)
    ended, status = os.waitpid(pid, os.WNOHANG)
    if status:
        sys.exit(1)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return not ended


def finish_a_copy(place, whole, epochs):
    """Finish a copy of a killed run, as the run itself is killed again; in what it differs from the whole one."""
    copy = place.with_name("copy")
    if place.exists():
        shutil.copytree(place, copy)
    finish(copy, epochs)
    found = differences(whole, open_run(copy))
    shutil.rmtree(copy)
    return found


def kill_and_compare(folder, o):
    """A row for each kill."""
    birds()  # before the first fork
    length = clock(lambda: finish(folder/"whole", o.epochs)).wall
    note(f"a run of {o.epochs} epochs takes {length:.1f} s when left alone")
    whole, chance, rows, number = open_run(folder/"whole"), random.Random(o.seed), [], 1
    while len(rows) < o.kills:
        place, wait = folder/f"run-{number}", chance.uniform(0, length / 2)
        if not kill_one(place, o.epochs, wait, half_way=len(rows) % 2):
            number += 1  # there was nothing left to kill: the next kill meets a new run
            continue
        row = {"kill": len(rows) + 1, "run": number, "after s, at least": wait, "complete epochs": complete(place) or 0,
               "busy with": busy_with(place)}
        found = finish_a_copy(place, whole, o.epochs)
        rows.append(row | {"bit-equal": "NO: " + ", ".join(found) if found else "yes"})
        note(f"kill {len(rows)}: {row['busy with']}, bit-equal: {rows[-1]['bit-equal']}")
    return rows


def main():
    o = read_options(KillOptions, __doc__)
    with tempfile.TemporaryDirectory() as folder:
        rows = kill_and_compare(Path(folder), o)
    equal = sum(row["bit-equal"] == "yes" for row in rows)
    title = f"{len(rows)} kills, each resumed: {equal} of {len(rows)} bit-equal to the run that was left alone"
    report(o, {title: rows}, peers=("accelerate", "safetensors"))
    sys.exit(equal < len(rows))


if __name__ == "__main__":
    main()
