"""Kill a training with SIGKILL at random moments, resume it, and compare it with one that was left alone.

    python bench/kills.py [--kills 20] [--seed 0] [--epochs 8]

After each kill a copy of the run is resumed, finished and compared bit for bit: last and best checkpoint, kept epochs, latents,
samples, TensorBoard's numbers, and the history but for its column `seconds`, which is a measured time. The run itself is
resumed and killed again, until it is done; then another begins. Every second kill waits, after its random time, until a file
is half written. Exit status 1 if anything differs. POSIX only: processes are forked.
"""
import argparse
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import accelerate  # noqa: F401  imported here once, so that the forked processes train from their first moment on
import torch
import torch.utils.tensorboard
import torchvision  # noqa: F401
from PIL import Image  # noqa: F401
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_course import train as T
from gan_course.core import InputError
from gan_course.data import load_images


logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each epoch that was written twice
torch.set_num_threads(1)  # a forked process may not use more
IMAGES, HELD_OUT = load_images("toy-birds", limit=400), load_images("toy-birds", "test", limit=64)


def config(epochs):
    return T.TrainConfig(data="toy-birds", limit=400, base_channels=8, batch_size=32, epochs=epochs, ema=.9, samples=16, precision="float32", keep_every=3)


def measure(training, row):
    """A number that stands for the FID, so that there is a best checkpoint: made from the weights, in no order."""
    return {"fid": float(T.generate(training.ema, training.latents).float().mean()) * 1e4 % 97, "kid": 0.}


def go_on(place, epochs):
    """What each process does: begin, or go on from what it finds."""
    how = dict(images=IMAGES, test_images=HELD_OUT, on_epoch_end=[measure], progress=False)
    if (place / "config.json").exists(): T.resume(place, **how)
    else: T.train(config(epochs), place, **how)


def start(place, epochs):
    pid = os.fork()
    if pid: return pid
    try:
        go_on(place, epochs)
        os._exit(0)
    except InputError as e: print(f"failed: {e}", file=sys.stderr)
    except BaseException as e: print(f"failed: {e!r}", file=sys.stderr)
    finally: sys.stderr.flush(); os._exit(1)


def finish(place, epochs):
    if os.waitpid(start(place, epochs), 0)[1]: sys.exit(f"{place.name} could not be finished")


def wait_for_a_half_written_file(place, longest=1.):
    """Until a file is being written: the moments that matter most take little of the time."""
    until = time.perf_counter() + longest
    while time.perf_counter() < until and not any(p.name.endswith(".part") for p in [*place.glob(".*"), *place.glob("*/.*")]): pass


def complete(place):
    """The last complete epoch, or "-" before the first checkpoint stands."""
    file = place / "checkpoints/last.safetensors"
    return T._read_checkpoint(file)[0] if file.exists() else "-"


def busy_with(place):
    """Where the process was killed, as its files tell."""
    parts = sorted(p.name.split(".")[1] for p in place.rglob(".*.part"))
    if parts: return f"writing {parts[0]}"
    if not (place / "config.json").exists(): return "before config.json"
    done = complete(place)
    if done == "-": return "before the first checkpoint"
    history = len(T.read_history(place / "history.csv")) if (place / "history.csv").exists() else 0
    if history > done: return "between history and checkpoint"
    return "between samples and history" if max(T.open_run(place).epochs, default=0) > done else "training"


def numbers(run):
    """TensorBoard's view: tag → [(epoch, value)]."""
    events = EventAccumulator(str(run.path / "events"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"] if tag != "seconds"}


def differences(a, b):
    """What is not the same in two runs; [] if they are equal."""
    found = []
    files = {"latents.safetensors", *(f"checkpoints/{p.name}" for run in (a, b) for p in run.path.glob("checkpoints/*"))}
    for name in sorted(files):
        if not all((run.path / name).exists() for run in (a, b)): found.append(f"{name} is missing"); continue
        x, y = (T._read_tensors(run.path / name) for run in (a, b))
        if x.keys() != y.keys() or not all(torch.equal(x[k], y[k]) for k in x): found.append(name)
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.history] for run in (a, b)]
    if rows[0] != rows[1]: found.append("history.csv")
    if a.epochs != b.epochs or not all(torch.equal(a.samples(e), b.samples(e)) for e in a.epochs): found.append("samples")
    if numbers(a) != numbers(b): found.append("events")
    for run, history in zip((a, b), rows):
        seen = numbers(run)
        for tag, points in seen.items():
            if [e for e, _ in points] != [row["epoch"] for row in history if row[tag] is not None]: found.append(f"events of {run.path.name}: {tag}")
    return found + [f"left over: {p.name}" for p in b.path.rglob("*.part")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 20), ("seed", 0), ("epochs", 8)): parser.add_argument(f"--{name}", type=int, default=default)
    o = parser.parse_args()
    chance, kill, equal, number = random.Random(o.seed), 0, 0, 1
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        began = time.perf_counter()
        finish(folder / "whole", o.epochs)
        whole, length = T.open_run(folder / "whole"), time.perf_counter() - began
        print(f"a run of {o.epochs} epochs, {length:.1f} s when left alone; toy birds, torch {torch.__version__}, seed {o.seed}")
        print(f"{'kill':>4} {'run':>4} {'at least':>9} {'complete':>9} {'resumed from':>13}  {'busy with':32} equal?")
        while kill < o.kills:
            place, copy = folder / f"run-{number}", folder / "copy"
            pid, wait = start(place, o.epochs), chance.uniform(0, length / 2)
            time.sleep(wait)
            if kill % 2: wait_for_a_half_written_file(place)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if status: sys.exit(1)
            if ended:  # there was nothing left to kill: the next kill meets a new run
                number += 1
                continue
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            kill += 1
            if place.exists(): shutil.copytree(place, copy)  # the copy is finished and compared; the run itself is killed again
            done, doing = complete(place), busy_with(place)
            finish(copy, o.epochs)
            found = differences(whole, T.open_run(copy))
            equal += not found
            shutil.rmtree(copy)
            print(f"{kill:>4} {number:>4} {wait:>7.2f} s {done:>9} {'the beginning' if done == '-' else done:>13}  {doing:32} {'NO: ' + ', '.join(found) if found else 'yes'}", flush=True)
    print(f"{kill} kills, each resumed: {equal} of {kill} bit-equal to the run that was left alone")
    sys.exit(equal < kill)
