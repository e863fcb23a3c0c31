"""Two at once: a folder is taken by one process, a run at work is locked, no file of a run is read if too large."""
import contextlib
import dataclasses
import json
import os
import struct
import subprocess
import sys
import threading

import pytest

from conftest import TINY
from gan_course import locks
from gan_course import training as T
from gan_course.core import InputError
from gan_course.data import load_images
from gan_course.storage import atomic_write

HOLD = """import sys, pathlib; from gan_course.locks import locked
with locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()"""


@contextlib.contextmanager
def another_process(folder, code=HOLD):
    """A process that holds the lock of a folder."""
    command, pipe = [sys.executable, "-c", code, str(folder)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
            yield holder
        finally: holder.kill()


def test_a_run_at_work_is_refused_and_named(run):
    before = (run.path / "config.json").read_bytes()
    part = run.path / "checkpoints/.last.safetensors.77.part"
    with another_process(run.path) as holder:
        part.write_text("being written")
        for work in (lambda: T.resume(run.path, 4, progress=False), lambda: T.train_or_open(
                dataclasses.replace(TINY, epochs=4), run.path, progress=False)):
            with pytest.raises(InputError, match=rf"trained by process {holder.pid} on .*: wait") as e: work()
            assert "\n" not in str(e.value)
        assert part.read_text() == "being written" and (run.path / "config.json").read_bytes() == before
        assert len(T.open_run(run.path).history) == 3  # reading goes on meanwhile


def test_the_lock_of_a_dead_process_is_taken_over(run):
    with another_process(run.path) as holder: holder.kill()
    assert (run.path / locks.LOCK).exists()
    assert len(T.resume(run.path, 4, progress=False).history) == 4
    assert not (run.path / locks.LOCK).exists()


def test_a_lock_is_given_back_when_training_ends_in_any_way(run):
    def stop(*_): raise KeyboardInterrupt

    with pytest.raises(T.Stopped): T.resume(run.path, 4, on_epoch_end=[stop], progress=False)
    with pytest.raises(InputError, match="epochs already"): T.resume(run.path, 1, progress=False)
    assert not (run.path / locks.LOCK).exists()
    assert len(T.resume(run.path, 4, progress=False).history) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path):
    """The parent is killed and cleans nothing up; a child that it forked, such as a loader's worker, lives on."""
    fork = "with locked(pathlib.Path(sys.argv[1])):\n    import os\n    if not os.fork(): sys.stdin.read(), os._exit(0)"
    with another_process(tmp_path, HOLD.replace("with locked(pathlib.Path(sys.argv[1])):", fork)) as holder:
        holder.send_signal(9)
        holder.wait()
        assert (tmp_path / locks.LOCK).exists()
        with locks.locked(tmp_path): pass
        holder.stdin.close()  # the child ends


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_child_does_not_give_back_the_lock_of_its_parent(tmp_path):
    mine = os.getpid()
    with locks.locked(tmp_path):
        child = os.fork()
        if child: os.waitpid(child, 0)
        assert (tmp_path / locks.LOCK).exists()
    if os.getpid() != mine: os._exit(0)
    assert not (tmp_path / locks.LOCK).exists()


def test_a_lock_that_its_owner_just_removed_locks_nothing(tmp_path, monkeypatch):
    """Opened a moment before the owner ended: the next process would lock another file of that name."""
    reserve, seen = locks._reserve, []

    def late(file):
        if not seen: (tmp_path / locks.LOCK).unlink()
        seen.append(file)
        return reserve(file)
    monkeypatch.setattr(locks, "_reserve", late)
    with locks.locked(tmp_path):
        assert len(seen) == 2 and (tmp_path / locks.LOCK).exists()
        with pytest.raises(InputError, match="trained by"), locks.locked(tmp_path): pass


def test_a_folder_is_looked_at_again_once_it_is_locked(tmp_path):
    """Another training came and was done between the look and the lock."""
    def wanted():
        place = T.new_place(TINY, tmp_path / "X")
        if not place.exists():
            place.mkdir()
            (place / "config.json").write_text("{}")
        return place

    with pytest.raises(InputError, match="is there already"), contextlib.ExitStack() as keep:
        locks.take_folder(wanted, False, keep)
    assert [p.name for p in (tmp_path / "X").iterdir()] == ["config.json"]


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
