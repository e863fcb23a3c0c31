"""Begin, or resume, one run in two processes at the same moment: nothing is lost, nothing is mixed.

    python bench/two_at_once.py [--starts 50] [--resumes 50] [--seed 0] [--epochs 4]

A pair of starts differs in its seed. Every second pair names one folder: one process trains, the other is refused in
one line. The others name none: there are two runs, in two folders. A pair of resumes wants different numbers of epochs
of one run: no epoch that one of them completed is gone when both have ended. Each run is then compared bit for bit with
one that was made alone, its settings included. Exit status 1 if anything differs. POSIX only: processes are forked.
"""
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro
from common import Options, note, read_options, report
from resume_after_kill import complete, differences

from gan_course.core import InputError
from gan_course.data import load_images
from gan_course.runs import open_run
from gan_course.settings import TrainConfig
from gan_course.training import resume, train


@dataclass
class PairOptions(Options):
    TINY_SIZES = dict(starts=2, resumes=2)
    threads: tyro.conf.Fixed[int] = 1  # a forked process may not use more
    starts: int = 50  # pairs
    resumes: int = 50
    seed: int = 0  # of the moments
    epochs: int = 4  # of each run


def settings(seed, epochs):
    """A small run."""
    return TrainConfig(data="toy-birds", limit=100, base_channels=4, batch_size=50, epochs=epochs, samples=4, seed=seed,
                       precision="float32")


def at_once(works, apart):
    """What comes of functions in a process each, the second after `apart` seconds: a path, or what was said."""
    reader, writer = os.pipe()  # closed by the parent when both are there
    pipes = []
    for i, work in enumerate(works):
        get, put = os.pipe()
        if not os.fork():
            os.close(writer)
            os.read(reader, 1)
            time.sleep(i * apart)
            try:
                told = dict(done=str(work().path.resolve()))
            except InputError as e:
                told = dict(refused=str(e))
            except BaseException as e:
                told = dict(failed=repr(e))
            os.write(put, json.dumps(told).encode())
            os._exit(0)
        os.close(put)
        pipes.append(get)
    os.close(writer)
    told = []
    for pipe in pipes:
        with open(pipe, "rb") as f:
            told.append(json.loads(f.read() or b'{"failed": "without a word"}'))
        os.wait()
    os.close(reader)
    return told


def unclear(told):
    """What is wrong with what the processes said: each is done, or refused in one line that says why."""
    for one in told:
        text = one.get("refused", "")
        if "failed" in one:
            yield f"failed: {one['failed']}"
        elif "refused" in one and ("\n" in text or not any(word in text for word in ("being trained by", "is there",
                                                                                     "epochs already"))):
            yield f"unclear: {text}"
    if not any("done" in one for one in told):
        yield "both were refused"


def start_pair(folder, whole, epochs, named, apart, images):
    """Two trainings begin; what is wrong afterwards."""
    folder.mkdir()
    os.chdir(folder)
    told = at_once([lambda seed=seed: train(settings(seed, epochs), "X" if named else None, images, progress=False)
                    for seed in range(2)], apart)
    found = list(unclear(told))
    done = [(seed, one["done"]) for seed, one in enumerate(told) if "done" in one]
    if len(done) != (1 if named else 2) or len({path for _, path in done}) != len(done):
        found.append(f"{len(done)} trainings were done")
    runs = list((folder if named else folder/"_runs").iterdir())
    if len(runs) != len(done):
        found.append(f"{len(runs)} folders")
    for seed, path in done:
        run = open_run(path)
        found += differences(whole[seed], run) + ["config"] * (run.config != whole[seed].config)
    return told, found


def resume_pair(folder, whole, half, epochs, first, apart, images):
    """Two resumes of one run begin; what is wrong afterwards."""
    shutil.copytree(half, folder)
    wanted = (epochs, epochs // 2 + 1)[::first]
    told = at_once([lambda n=n: resume(folder, n, images, progress=False) for n in wanted], apart)
    found = list(unclear(told))
    reached = max([n for n, one in zip(wanted, told, strict=True) if "done" in one], default=0)
    if (complete(folder) or 0) < reached:
        found.append(f"{complete(folder)} of {reached} epochs are left")
    if reached < epochs:
        resume(folder, epochs, images, progress=False)
    return told, found + differences(whole[0], open_run(folder))


def outcome(told):
    """In two words, for the table."""
    return " + ".join(sorted(next(iter(one)) for one in told))


def pairs(folder, o, chance):
    """A row for each pair."""
    images = load_images("toy-birds", limit=100)
    def alone(name, seed, epochs): return train(settings(seed, epochs), folder/name, images, progress=False)
    whole, half = [alone(f"whole-{seed}", seed, o.epochs) for seed in range(2)], alone("half", 0, o.epochs // 2)
    for i in range(o.starts):
        place = folder/f"start-{i}"
        told, found = start_pair(place, whole, o.epochs, i % 2 == 0, chance.choice([0, chance.uniform(0, .2)]), images)
        os.chdir(folder)
        shutil.rmtree(place)
        yield {"pair": "starts, one folder" if i % 2 == 0 else "starts", "came of it": outcome(told), "wrong": found}
    for i in range(o.resumes):
        place, first = folder/f"resume-{i}", chance.choice([1, -1])
        told, found = resume_pair(place, whole, half.path, o.epochs, first, chance.uniform(0, .2) * (i % 2), images)
        shutil.rmtree(place)
        yield {"pair": "resumes", "came of it": outcome(told), "wrong": found}


def main():
    o = read_options(PairOptions, __doc__)
    here, rows = Path.cwd(), []
    with tempfile.TemporaryDirectory() as folder:
        for row in pairs(Path(folder).resolve(), o, random.Random(o.seed)):
            rows.append(row)
            note(f"{len(rows)}: {row['pair']}: {row['came of it']}; {'; '.join(row['wrong']) or 'right'}")
        os.chdir(here)
    bad = [row | {"wrong": "; ".join(row["wrong"])} for row in rows if row["wrong"]]
    kinds, wrong = (Counter((row["pair"], row["came of it"]) for row in some) for some in (rows, bad))
    table = [{"pair": k[0], "came of it": k[1], "pairs": n, "wrong": wrong[k]} for k, n in kinds.items()]
    title = f"{len(rows)} pairs at once: {len(rows) - len(bad)} of {len(rows)} as if alone, nothing lost"
    report(o, {title: table} | ({"what was wrong": bad} if bad else {}), peers=("accelerate", "safetensors"))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
