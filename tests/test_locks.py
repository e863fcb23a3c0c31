"""Two at once: a folder is taken by one process, a run at work is locked, no file of a run is read if too large."""
import contextlib
import dataclasses
import json
import os
import shutil
import struct
import subprocess
import sys
import threading

import pytest

from gan_course import locks
from gan_course import training as T
from gan_course.core import InputError
from gan_course.data import load_images
from gan_course.storage import atomic_write

TINY = T.TrainConfig(data="toy-birds", limit=64, base_channels=4, batch_size=32, epochs=2, samples=4,
                     precision="float32")
HOLD = """import sys, pathlib; from gan_course.locks import locked
with locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return T.train(TINY, tmp_path_factory.mktemp("runs") / "whole", progress=False)


@pytest.fixture
def run(whole, tmp_path):
    """A copy to spoil."""
    return T.open_run(shutil.copytree(whole.path, tmp_path / "r"))


@contextlib.contextmanager
def another_process(folder):
    """A process that holds the lock of a folder."""
    command, pipe = [sys.executable, "-c", HOLD, str(folder)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
            yield holder
        finally: holder.kill()


def test_a_run_at_work_is_refused_and_named(run):
    before = (run.path / "config.json").read_bytes()
    part = run.path / "checkpoints/.last.safetensors.77.part"
    with another_process(run.path) as holder:
        part.write_text("being written")
        for work in (lambda: T.resume(run.path, 3, progress=False), lambda: T.train_or_open(
                dataclasses.replace(TINY, epochs=3), run.path, progress=False)):
            with pytest.raises(InputError, match=rf"trained by process {holder.pid} on .*: wait") as e: work()
            assert "\n" not in str(e.value)
        assert part.read_text() == "being written" and (run.path / "config.json").read_bytes() == before
        assert len(T.open_run(run.path).history) == 2  # reading goes on meanwhile


def test_the_lock_of_a_dead_process_is_taken_over(run):
    with another_process(run.path) as holder: holder.kill()
    assert (run.path / locks.LOCK).exists()
    assert len(T.resume(run.path, 3, progress=False).history) == 3
    assert not (run.path / locks.LOCK).exists()


def test_a_lock_is_given_back_when_training_ends_in_any_way(run):
    def stop(*_): raise KeyboardInterrupt

    with pytest.raises(T.Stopped): T.resume(run.path, 3, on_epoch_end=[stop], progress=False)
    with pytest.raises(InputError, match="epochs already"): T.resume(run.path, 1, progress=False)
    assert not (run.path / locks.LOCK).exists()
    assert len(T.resume(run.path, 3, progress=False).history) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path):
    r, w = os.pipe()
    with locks.locked(tmp_path):
        child = os.fork()
        if not child:
            os.read(r, 1)
            os._exit(0)
    try:
        with locks.locked(tmp_path): pass
    finally:
        os.write(w, b".")
        os.waitpid(child, 0)


def test_a_disk_without_locks_goes_by_what_is_written(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def unknown(*_): raise OSError(locks.errno.ENOLCK, "No locks available")

    with another_process(tmp_path) as holder:
        monkeypatch.setattr(fcntl, "flock", unknown)
        with pytest.raises(InputError, match=f"process {holder.pid}"), locks.locked(tmp_path): pass
        known = json.loads((tmp_path / locks.LOCK).read_text())
        (tmp_path / locks.LOCK).write_text(json.dumps(known | dict(started=1.)))  # its number was given anew
        with locks.locked(tmp_path): pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": -1, "host": "h", "started": 1.0}', "[" * 5000])
def test_a_spoilt_lock_locks_nothing(tmp_path, content):
    (tmp_path / locks.LOCK).write_text(content)
    with locks.locked(tmp_path): pass


def test_a_lock_is_no_link(tmp_path):
    (tmp_path / "mine").write_text("kept")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / locks.LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="cannot be written"), locks.locked(tmp_path / "r"): pass
    assert (tmp_path / "mine").read_text() == "kept"


def at_once(n, work):
    """What comes of the same work in n threads that begin together."""
    start, results = threading.Barrier(n), []

    def one():
        start.wait()
        try: results.append(work())
        except InputError as e: results.append(e)
    threads = [threading.Thread(target=one) for _ in range(n)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return results


def test_one_of_many_gets_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as keep:
        got = at_once(8, lambda: locks.take_folder(lambda: T.new_place(TINY), True, keep))
        wanted = ["toy-birds-dcgan", *(f"toy-birds-dcgan-{i}" for i in range(2, 9))]
        assert sorted(p.name for p in got) == sorted(wanted)
    out = tmp_path / "X"
    with contextlib.ExitStack() as keep:
        got = at_once(8, lambda: locks.take_folder(lambda: T.new_place(TINY, out), False, keep))
        assert got.count(out) == 1 and all("trained by" in str(e) for e in got if e != out)


def test_a_sweep_gives_as_many_runs_as_it_has_members(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, new_run = load_images("toy-birds", limit=64), T._new_run

    def second_first(*args):  # another training takes the folder while this one gets ready
        monkeypatch.setattr(T, "_new_run", new_run)
        T.train(dataclasses.replace(TINY, seed=1), images=images, progress=False)
        return new_run(*args)
    monkeypatch.setattr(T, "_new_run", second_first)
    run = T.train(TINY, images=images, progress=False)
    assert run.path.name == "given-images-dcgan-2" and run.config.seed == 0
    assert T.open_run("_runs/given-images-dcgan").config.seed == 1

    def taken(*args):
        (tmp_path / "X").mkdir()
        (tmp_path / "X/mine").write_text("")
        return new_run(*args)
    monkeypatch.setattr(T, "_new_run", taken)
    with pytest.raises(InputError, match="X is there already"): T.train(TINY, "X", images=images, progress=False)
    assert [p.name for p in (tmp_path / "X").iterdir()] == ["mine"]


def test_part_files_have_names_of_their_own(tmp_path):
    with atomic_write(tmp_path / "x") as a, atomic_write(tmp_path / "x") as b:  # of two threads, of two containers
        assert a != b
        a.write_text("a")
        b.write_text("b")
    assert (tmp_path / "x").read_text() == "a" and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("file", ["config.json", "history.csv", "latents.safetensors", "checkpoints/last.safetensors"])
def test_no_file_is_read_that_no_run_can_have(run, file):
    path = run.path / file
    with open(path, "r+b") as f:
        if path.suffix == ".safetensors": f.write(struct.pack("<Q", 90_000_000))
        f.truncate(120_000_000)  # of nothing: it takes no room on the disk
    with pytest.raises(InputError, match="bytes, more than the .*: the file is damaged") as e: T.open_run(run.path)
    assert "\n" not in str(e.value)


def test_latents_are_no_larger_than_config_json_tells(run):
    from safetensors.torch import save_file

    save_file({"latents": run.latents, "more": run.latents.repeat(200, 1)}, run.path / "latents.safetensors")
    with pytest.raises(InputError, match="does not hold the"): _ = run.latents


def test_names_move_no_cursor(run):
    info = json.loads((run.path / "config.json").read_text())
    info["data"]["name"] = "\x1b]0;owned\x07\x1b[2J"
    (run.path / "config.json").write_text(json.dumps(info))
    assert repr(T.open_run(run.path)).isprintable()
