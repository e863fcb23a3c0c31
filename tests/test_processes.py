"""One run in several processes, started for real: by torchrun, as two machines, and by notebook_launcher."""
import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch

from conftest import BIN
from conftest import SMALL as TINY
from gan_course import processes as P
from gan_course import runs
from gan_course import training as T
from gan_course.core import InputError
from gan_course.locks import locked

# what a launched script begins with: a pair without batch norm, in float64, for Adam makes whole steps out of the
# rounding of a gradient near 0
PRELUDE = """
import json, os, sys, torch
from pathlib import Path
from torch import nn
from gan_course import training as T
from gan_course.core import InputError
from gan_course.dcgan import register_model

class Shaped(nn.Sequential):
    def __init__(self, *layers, **about): super().__init__(*layers); self.__dict__.update(about)
    def forward(self, x, labels=None): return super().forward(x.double())

def plain(img_size, img_channels, latent_dim, base_channels, head):
    shape, n = (img_channels, img_size, img_size), img_channels * img_size ** 2
    about = dict(img_size=img_size, img_channels=img_channels, latent_dim=latent_dim)
    G = Shaped(nn.Linear(latent_dim, base_channels), nn.ReLU(), nn.Linear(base_channels, n), nn.Tanh(),
               nn.Unflatten(1, shape), **about)
    D = Shaped(nn.Flatten(), nn.Linear(n, base_channels), nn.SiLU(), nn.Linear(base_channels, 1), nn.Flatten(0),
               **about)
    return G.double(), D.double()

register_model("plain", plain)
PLAIN = dict(data="toy-birds", limit=200, base_channels=4, batch_size=32, epochs=2, samples=9, precision="float32",
             lr_g=1e-3, lr_d=1e-3)
rank = lambda: int(os.environ.get("RANK", 0))
"""


def environment(**more):
    alone = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return alone | {"OMP_NUM_THREADS": "1"} | more


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def launch(folder, code, **more):
    """A script that starts processes with notebook_launcher, which forks."""
    (folder / "script.py").write_text(PRELUDE + code)
    return subprocess.run([sys.executable, "script.py", str(free_port())], cwd=folder, capture_output=True, text=True,
                          timeout=240, env=environment(**more))


def torchrun(*args, cwd, **more):
    port = ["--master_port", str(free_port())] if "--master_port" not in args else []
    return subprocess.Popen([BIN / "torchrun", *port, *map(str, args)], cwd=cwd, text=True, env=environment(**more),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def tensors(folder, name="last"):
    return T.read_tensors(folder / f"checkpoints/{name}.safetensors")


def close(a, b):
    return a.keys() == b.keys() and all(torch.allclose(a[k], b[k], rtol=1e-6, atol=1e-9) for k in a)


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Two processes from one script: what each saw, held and said; beside it the same in one process."""
    folder = tmp_path_factory.mktemp("launched")
    done = launch(folder, '''
from accelerate import notebook_launcher

def work(name, setup):
    seen, batch = [], T.real_batch
    def noted(images, i, generator, flip, device, share):
        if flip: seen.append(i[share].tolist())
        return batch(images, i, generator, flip, device, share)
    T.real_batch = noted
    held = []
    keep = T.run_epoch
    def watched(t, bar=None):
        row = keep(t, bar)
        held[:] = [t]
        return row
    T.run_epoch = watched
    config = T.TrainConfig(**(PLAIN | setup))
    own = name.endswith("own")  # networks of one's own, which begin with other weights in each process
    torch.manual_seed(rank())
    pair = dict(zip("GD", plain(32, 3, 8, 4, "fc"))) if own else {}
    T.train(config, name, progress=False, **pair)
    def state(net): return [v.double().sum().item() for v in net.state_dict().values()]
    t = held[0]
    about = dict(seen=seen, world=int(os.environ.get("WORLD_SIZE", 1)), threads=torch.get_num_threads(),
                 weights=[state(n) for n in (t.G, t.D, t.ema)])
    Path(f"{name}-{rank()}.json").write_text(json.dumps(about))
    T.real_batch, T.run_epoch = batch, keep

def both(*_):
    for name, setup in SETUPS.items(): work("two-" + name, setup)

SETUPS = {
    "plain": dict(model="plain"),
    "penalty": dict(model="plain", loss="wgan-gp", d_steps=2, augment="color,translation,cutout"),
    "own": dict(),
    "dcgan": dict(model="dcgan", epochs=1)}
# first in one process: notebook_launcher works afterwards, too
for name, setup in SETUPS.items(): work("one-" + name, setup)
notebook_launcher(both, num_processes=2, use_port=sys.argv[1])
''')
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def notes(launched, name):
    return [json.loads((launched / f"two-{name}-{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_share_each_batch(launched):
    first, second = notes(launched, "plain")
    alone = json.loads((launched / "one-plain-0.json").read_text())
    assert first["world"] == second["world"] == 2 and alone["world"] == 1
    assert first["threads"] == 1  # more would hang after a fork
    for a, b, whole in zip(first["seen"], second["seen"], alone["seen"], strict=True):
        assert len(a) == len(b) == 16 and a + b == whole  # disjoint, and together the batch of one process
    for start in (0, 6):  # of an epoch
        batches = first["seen"][start:start + 6] + second["seen"][start:start + 6]
        assert len({i for batch in batches for i in batch}) == 192
    assert not (launched / "two-plain-2").exists()
    assert T.open_run(launched / "two-plain").info["hardware"]["processes"] == 2


@pytest.mark.parametrize("name", ["plain", "penalty", "own", "dcgan"])
def test_both_end_with_equal_networks(launched, name):
    first, second = notes(launched, name)
    assert first["weights"] == second["weights"]  # running statistics included


@pytest.mark.parametrize("name", ["plain", "penalty", "own"])
def test_without_batch_norm_two_processes_are_one(launched, name):
    assert close(tensors(launched / f"two-{name}"), tensors(launched / f"one-{name}"))
    two, one = (runs.read_history(launched / f"{n}-{name}/history.csv") for n in ("two", "one"))
    for a, b in zip(two, one, strict=True):
        assert all(a[k] == pytest.approx(b[k], rel=1e-6) for k in a if k != "seconds" and a[k] is not None)


def test_torchrun_then_two_machines(tmp_path):
    """The command line under torchrun; then two machines of one process each, only the first with the folder."""
    done = torchrun("--nproc_per_node", 2, "-m", "gan_course", "train", *TINY, "--epochs", 1, "--out", "runs/r",
                    cwd=tmp_path)
    out, errors = done.communicate(timeout=240)
    assert done.returncode == 0, errors[-3000:]
    assert out.count("epoch   1") == out.count("1 epochs done") == 1  # one of them speaks
    before = T.open_run(tmp_path / "runs/r")
    assert len(before.history) == 1 and before.info["hardware"]["processes"] == 2
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["r"]
    (tmp_path / "other").mkdir()
    port = str(free_port())
    machines = []
    for i, place in enumerate((tmp_path, tmp_path / "other")):
        machines.append(torchrun(
            "--nnodes", 2, "--node_rank", i, "--nproc_per_node", 1, "--master_addr", "127.0.0.1", "--master_port", port,
            "-m", "gan_course", "train", "--resume", "runs/r", "--epochs", 2, cwd=place))
    said = [m.communicate(timeout=240) for m in machines]
    assert [m.returncode for m in machines] == [0, 0], said
    after = T.open_run(tmp_path / "runs/r")
    assert after.history[0] == before.history[0]
    assert [row["epoch"] for row in after.history] == after.epochs[1:] == [1, 2]
    assert not list((tmp_path / "other").iterdir()) and "epoch   2" in said[0][0] and "epoch" not in said[1][0]


def test_errors_end_all_processes_and_are_said_once(tmp_path):
    done = launch(tmp_path, '''
from accelerate import notebook_launcher
from gan_course.cli import main

def tell(what, work):
    try: work()
    except (InputError, KeyboardInterrupt, OSError) as e:
        Path(f"{what}-{rank()}.txt").write_text(f"{type(e).__name__}: {e}")

def only_second_fails(config, *rest):
    if rank() == 1: raise InputError("no images on this machine")
    return load(config, *rest)
load = T._load_data

def poison(t, row):
    with torch.no_grad(): t.G[0].weight.fill_(float("nan"))

def full(t, row): raise OSError(28, "No space left on device")
def stop(t, row): raise KeyboardInterrupt

def both():
    config = T.TrainConfig(**PLAIN, model="plain")
    tell("batch", lambda: T.train(T.TrainConfig(**PLAIN | dict(batch_size=33)), "a", progress=False))
    tell("wrong", lambda: T.train(T.TrainConfig(**PLAIN | dict(head="gab")), "b", progress=False))
    T._load_data = only_second_fails
    tell("data", lambda: T.train(config, "c", progress=False))
    T._load_data = load
    for name, hook in (("nan", poison), ("hook", full), ("stop", stop)):
        tell(name, lambda: T.train(config, name, on_epoch_end=[hook], progress=False))
    bad = ["--batch-size", "33", "--limit", "200", "--base-channels", "4", "--epochs", "1", "--precision", "float32"]
    try: main(["train", *bad])
    except SystemExit as e: Path(f"exit-{rank()}.txt").write_text(str(e.code))

notebook_launcher(both, num_processes=2, use_port=sys.argv[1])
''')
    assert done.returncode == 0, done.stderr[-3000:]
    def told(what): return [(tmp_path / f"{what}-{rank}.txt").read_text() for rank in (0, 1)]
    for what, message in (
            ("batch", "shared equally by 2"), ("wrong", "did you mean 'gap'"), ("data", "no images on this machine"),
            ("nan", "Diverged"), ("stop", "Stopped")):
        assert all(message in text for text in told(what)), told(what)
    assert told("exit") == ["2", "2"] and done.stderr.count("gan-course: a batch of 33 images") == 1
    assert "No space left" in told("hook")[1] and not any((tmp_path / name).exists() for name in "abc")


def test_workers_end_with_their_launcher(tmp_path):
    """torchrun is killed; its workers would train on, unseen, beside the resume."""
    run = tmp_path / "r"
    launcher = torchrun("--nproc_per_node", 2, "-m", "gan_course", "train", *TINY, "--epochs", 500, "--out", run,
                        cwd=tmp_path)
    until = time.monotonic() + 200
    while not (run / "history.csv").exists() and time.monotonic() < until: time.sleep(.05)
    workers = psutil.Process(launcher.pid).children()
    launcher.kill()
    launcher.wait()
    gone, alive = psutil.wait_procs(workers, timeout=30)
    for worker in alive: worker.kill()
    assert len(gone) == 2 and not alive
    with locked(run): pass
    assert 1 <= len(T.open_run(run).history) < 500
    launcher.communicate()


SMALLEST = T.TrainConfig(data="toy-birds", limit=32, base_channels=4, batch_size=32, epochs=1, samples=4,
                         precision="float32")
LEFT = dict(WORLD_SIZE="2", RANK="0", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_first_meeting_is_not_waited_for_long(rank, monkeypatch, capsys, tmp_path):
    """Of another job there is a whole set of variables; the others never come."""
    for name, value in (LEFT | dict(RANK=rank, MASTER_PORT=str(free_port()))).items(): monkeypatch.setenv(name, value)
    monkeypatch.setattr(P, "FIRST_MEETING", (1, .3))
    with pytest.raises(InputError, match=f"process {rank} of 2 has waited 1 s .* unset them .env -u WORLD_SIZE") as e:
        T.train(SMALLEST, tmp_path / "r", progress=False)
    assert "\n" not in str(e.value) and not (tmp_path / "r").exists()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "waits for the others" in said[0] and "MASTER_PORT=" in said[0]


def test_what_meets_is_a_pair(tmp_path):
    """Started by hand, as SLURM does; the second comes later, and both learn who they are."""
    code = "from gan_course import processes as P; s = P.processes(); print(s.process_index, s.num_processes)"
    left, pair = LEFT | dict(MASTER_PORT=str(free_port())), []
    for rank in ("1", "0"):
        pair.append(subprocess.Popen([sys.executable, "-c", code], env=environment(**left | dict(RANK=rank)), text=True,
                                     cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        time.sleep(1)
    said = [process.communicate(timeout=200) for process in pair]
    assert [out.split() for out, _ in said] == [["1", "2"], ["0", "2"]], said
    assert not any("waits" in error or "c10d" in error for _, error in said)


@pytest.mark.parametrize("left", [dict(RANK="1"), dict(WORLD_SIZE="two"), dict(LEFT, MASTER_PORT="x")], ids=str)
def test_python_says_what_another_job_left(left, monkeypatch, tmp_path):
    for name, value in left.items(): monkeypatch.setenv(name, value)
    for work in (lambda: T.train(SMALLEST, tmp_path / "r", progress=False),
                 lambda: T.resume("toy-birds-dcgan", progress=False)):
        with pytest.raises(InputError, match="nothing launched .*env -u"): work()
    assert not (tmp_path / "r").exists()


def test_one_process_reads_nothing_of_several(monkeypatch):
    """Accelerate would: where there is a GPU it begins NCCL for LOCAL_RANK, whose address is missing."""
    class State:
        num_processes = 1
        def __init__(self): self.seen = [name for name in left if name in os.environ]

    left = dict(WORLD_SIZE="1", RANK="0", LOCAL_RANK="0")
    for name, value in left.items(): monkeypatch.setenv(name, value)
    monkeypatch.setattr("accelerate.state.PartialState", State)
    assert P.processes().seen == [] and all(os.environ[name] == value for name, value in left.items())
