"""The loop under fire: killed processes, full and unwritable disks, runs that come from a stranger.

Nothing is lost, nothing executed, one line said."""
import contextlib
import dataclasses
import io
import json
import os
import pickle
import shutil
import stat
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from conftest import TINY
from gan_course import cli
from gan_course import training as T
from gan_course.core import InputError
from gan_course.storage import atomic_write, write_json


def said(*args):
    """What the command line says of bad input: one line, and status 2."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        with pytest.raises(SystemExit) as end: cli.main([str(a) for a in args])
    lines = [line for line in errors.getvalue().splitlines() if line.startswith("gan-course: ")]
    assert end.value.code == 2 and len(lines) == 1 and "Traceback" not in errors.getvalue()
    return lines[0]


def state(run):
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in run.history]
    weights = {k: v.tolist() for k, v in T.read_tensors(run.path / "checkpoints/last.safetensors").items()}
    return rows, weights, [run.samples(e).tolist() for e in run.epochs]


def test_killed_before_its_first_checkpoint_it_begins_again(whole, tmp_path):
    for name in ("nothing", "config"):
        place = tmp_path / name
        place.mkdir()
        (place / ".config.json.77.part").write_text("{")
        if name == "config":
            shutil.copy(whole.path / "config.json", place)
            (place / ".tmp7CHnUA").write_text("{")  # what safetensors leaves when it is killed
        made = T.resume(place, progress=False) if name == "config" else T.train(TINY, place, progress=False)
        assert state(made) == state(whole) and not [*place.rglob("*.part"), *place.rglob(".tmp*")]


def test_events_of_one_second_keep_their_order(tmp_path):
    """TensorBoard reads files by name: the second, then the process number, of which the next may be lower."""
    (tmp_path / "events").mkdir()
    now = int(time.time())
    for second in (now, now + 1): (tmp_path / f"events/events.out.tfevents.{second}.host.9.0").touch()
    T._close(T._open_events(SimpleNamespace(run=SimpleNamespace(path=tmp_path), epoch=3)))
    names = sorted(p.name for p in (tmp_path / "events").iterdir())
    assert len(names) == 3 and int(names[-1].split(".")[3]) > now + 1


def test_a_lost_checkpoint_is_no_beginning(run):
    (run.path / "checkpoints/last.safetensors").unlink()
    with pytest.raises(InputError, match="last.safetensors is missing"): T.resume(run.path, progress=False)
    assert len(run.history) == 3


def test_a_link_stays_and_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "there").mkdir()
    for name, target in (("link", "there/file"), ("dangling", "there/new")): (tmp_path / name).symlink_to(target)
    (tmp_path / "there/file").write_text("old")
    for name in ("link", "dangling"):
        write_json(tmp_path / name, dict(a=1))
        assert (tmp_path / name).is_symlink() and json.loads((tmp_path / name).read_text()) == dict(a=1)
    (tmp_path / "loop").symlink_to("loop")
    refused = {"there": "a folder", "loop": "cannot be written", "no/file": "cannot be written", "a\0b": "the name of"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "to pipe").symlink_to("pipe")
        refused |= {"pipe": "a pipe or a socket", "to pipe": "a pipe or a socket"}
        with contextlib.suppress(PermissionError):  # one's own, which leads to /dev/null
            os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            refused["null"] = "a device"
    before = {p: os.lstat(p).st_mode for p in tmp_path.rglob("*")}
    for name, why in refused.items():
        with pytest.raises(InputError, match=why) as error: write_json(tmp_path / name, dict(a=2))
        assert "\n" not in str(error.value)
    assert {p: os.lstat(p).st_mode for p in tmp_path.rglob("*")} == before  # nothing replaced, nothing left over


@pytest.mark.skipif(os.name == "nt", reason="modes of Windows are others")
def test_files_have_the_mode_that_the_umask_says(tmp_path):
    """A new one; what was there keeps its own. safetensors makes files for their owner alone."""
    def mode(file): return stat.S_IMODE((tmp_path / file).stat().st_mode)
    before = os.umask(0o027)
    try:
        for again in (0o640, 0o604):
            for name in ("a.json", "a.safetensors"):
                with atomic_write(tmp_path / name) as part:
                    save_file({"x": torch.zeros(1)}, part) if "safe" in name else part.write_text("{}")
                assert mode(name) == again
                (tmp_path / name).chmod(0o604)
    finally: os.umask(before)


@contextlib.contextmanager
def mounted(place, *options):
    place.mkdir()
    if not shutil.which("mount"): pytest.skip("no file system can be mounted here: no mount")
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode: pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try: yield place
    finally: subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("free_kb", [30, 0, 4, 120])
def test_a_full_disk_stops_the_run_and_space_lets_it_go_on(whole, tmp_path, free_kb):
    """A disk of 4 MB; all but `free_kb` is taken from the end of the first epoch on (at 30, before the start)."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "none") as disk:
        def fill(training=None, row=None):
            free = shutil.disk_usage(disk).free - free_kb * 1024
            if free > 0: (disk / "ballast").write_bytes(bytes(free))
        if free_kb == 30: fill()
        with pytest.raises(InputError, match="No space left") as error:
            T.train(TINY, disk / "r", on_epoch_end=[fill], progress=False)
        assert "\n" not in str(error.value)
        if (disk / "r/checkpoints/last.safetensors").exists():
            assert "No space left" in said("train", "--resume", disk / "r")
        (disk / "ballast").unlink()
        again = T.resume(disk / "r", progress=False)
        assert state(again) == state(whole) and not list(again.path.rglob("*.part"))


def test_a_folder_that_cannot_be_written(whole, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file/run"):
        with pytest.raises(InputError): T.train(TINY, out, progress=False)
    assert "cannot be written" in said("train", "--limit", 100, "--batch-size", 32, "--out", tmp_path / "file/run")
    copy = shutil.copytree(whole.path, tmp_path / "r")
    with mounted(tmp_path / "disk", "--bind", str(copy)) as disk:  # permissions do not bind root; this does
        subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
        assert "Read-only file system" in said("train", "--resume", disk, "--epochs", 4)
        assert "Read-only file system" in said("train", "--out", disk / "new")
        assert state(T.open_run(disk)) == state(whole)


def test_losses_that_are_no_numbers_end_the_command(tmp_path):
    message = said("train", "--limit", 100, "--base-channels", 4, "--batch-size", 32, "--precision", "float32",
                   "--lr-d", 1e30, "--lr-g", 1e30, "--out", tmp_path / "r")
    assert "became" in message and "last complete epoch is kept" in message
    assert T.open_run(tmp_path / "r").epochs == [0]


class Bomb:
    def __reduce__(self): return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", [
    "checkpoints/last.safetensors", "latents.safetensors", "config.json", "history.csv", "samples/epoch-0003.png"])
@pytest.mark.parametrize("write", ["pickle.dumps", "torch.save"])
def test_a_pickle_is_never_opened(run, tmp_path, monkeypatch, name, write):
    bomb, file = Bomb(), run.path / name
    bomb.marker = tmp_path / "executed"
    file.write_bytes(pickle.dumps(bomb)) if write == "pickle.dumps" else torch.save({"G": bomb}, file)
    monkeypatch.chdir(tmp_path)
    for use in (
            lambda: T.open_run(run.path).samples(),
            lambda: run.latents,
            run.generator,
            lambda: T.resume(run.path, epochs=4, progress=False),
            lambda: T.open_run(run.path).history):
        with contextlib.suppress(InputError): use()
    # a resume needs all but the pictures
    if not name.startswith("samples"): said("train", "--resume", run.path, "--epochs", 4)
    assert not bomb.marker.exists()


def edit(run, change):
    info = json.loads((run.path / "config.json").read_text())
    change(info)
    (run.path / "config.json").write_text(json.dumps(info))


@pytest.mark.parametrize("change, message", [
    (lambda i: i["train"].update(epochs="twelve"), "epochs has to be"),
    (lambda i: i["train"].update(lr_g=[1]), "lr_g has to be"),
    (lambda i: i["train"].update(batch_size=0), "batch_size has to be at least 2"),
    (lambda i: i["train"].update(loss={}), "loss has to be"),
    (lambda i: i.update(train=[]), "train"),
    (lambda i: i["model"].update(base_channels=-5), "model.base_channels"),
    (lambda i: i["model"].update(img_size="32"), "model.img_size"),
    (lambda i: i["data"].update(name=["\x1b[2J"]), "data.name"),
    (lambda i: i["samples"].update(cols=0), "samples.cols"),
    (lambda i: i["samples"].update(n=10**12), "samples.n"),
    (lambda i: i.pop("samples"), "samples"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_a_config_of_wrong_kinds_is_named(run, change, message):
    edit(run, change)
    with pytest.raises(InputError, match="config.json cannot be read") as error: T.open_run(run.path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_config_that_is_no_object_is_named(run):
    for text in ("[" * 100_000, "[1]", "null", '{"format": [1]}', "\x00", ""):
        (run.path / "config.json").write_text(text)
        with pytest.raises(InputError, match="config.json cannot be read") as error: T.open_run(run.path)
        assert len(str(error.value)) < 600


def test_giants_are_refused_before_memory_is_asked_for(run, monkeypatch):
    def both(**change): edit(run, lambda i: [i[part].update(change) for part in ("model", "train")])
    for width, message in ((10**6, "at most 1,024"), (512, "does not fit the networks"), (10**18, "base_channels is")):
        both(base_channels=width)
        for use in (lambda: T.open_run(run.path).generator(), lambda: T.resume(run.path, epochs=4, progress=False)):
            with pytest.raises(InputError, match=message): use()
        assert message in said("sample", run.path)
    both(base_channels=4)
    with monkeypatch.context() as small:
        small.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=10**5))
        with pytest.raises(InputError, match="GB of memory"): run.generator()
    edit(run, lambda i: i["samples"].update(n=10**4, cols=1) or i["train"].update(samples=10**4))
    for use in (T.open_run(run.path).samples, lambda: T.open_run(run.path).latents):
        with pytest.raises(InputError, match="config.json tells of|its config.json"): use()


def test_nothing_leads_out_of_a_run(run, tmp_path):
    """A stranger's links: what they point to is neither read, nor packed, nor written."""
    secret = tmp_path / "secret"
    secret.mkdir()
    shutil.copy(run.path / "samples/epoch-0003.png", secret / "epoch-0003.png")
    before = (secret / "epoch-0003.png").read_bytes()
    parts = ("samples", "checkpoints", "events", "latents.safetensors", "history.csv", "config.json",
             "samples/epoch-0003.png", "extra")
    for name in parts:
        place = Path(shutil.copytree(run.path, tmp_path / "copy"))
        target = secret if "." not in name else secret / "epoch-0003.png"
        if (place / name).is_dir(): shutil.rmtree(place / name)
        else: (place / name).unlink(missing_ok=True)
        (place / name).symlink_to(target)
        with pytest.raises(InputError, match="leads out of the run"): T.open_run(place)
        with pytest.raises(InputError, match="leads out of the run"): T.resume(place, epochs=4, progress=False)
        shutil.rmtree(place)
    assert os.listdir(secret) == ["epoch-0003.png"] and (secret / "epoch-0003.png").read_bytes() == before
    if hasattr(os, "mkfifo"):
        os.mkfifo(run.path / "extra")  # to open it would wait for ever
        with pytest.raises(InputError, match="neither a file nor a folder"): T.open_run(run.path)


@pytest.mark.parametrize("field, value", [
    ("data", "../../secret"), ("model", "os:system"), ("model", "../dcgan"), ("head", "/etc/passwd"), ("crop", "../x")])
def test_names_in_a_config_lead_nowhere(run, field, value):
    edit(run, lambda i: i["train"].update({field: value}))
    before = sorted(run.path.parent.rglob("*"))
    with contextlib.suppress(InputError): T.resume(run.path, epochs=4, progress=False)
    now = [p for p in sorted(run.path.parent.rglob("*")) if p not in before]
    assert all(p.is_relative_to(run.path) for p in now)
    if field != "crop" and field != "head": assert "gan-course: " in said("train", "--resume", run.path, "--epochs", 5)


@pytest.mark.parametrize("content", [
    b"", b"\x00\xff\xfe", b"epoch,images\nthree,3\n", b"a,b\n1,2\n", b"epoch\n1\n2,3,x\n\n\"",
    b"epoch,images,seconds\n1,2\n"])
def test_a_spoilt_history_is_named_and_runs_goes_on(run, capsys, content):
    (run.path / "history.csv").write_bytes(content)
    try: assert all(set(row) == set(T.COLUMNS) for row in run.history)  # what can be read has its columns
    except InputError as e: assert "history.csv is no history" in str(e) and "\n" not in str(e)
    cli.main(["runs", str(run.path.parent)])
    assert "toy-birds-dcgan (ready)" in capsys.readouterr().out


def test_runs_names_what_is_broken_and_goes_on(run, capsys):
    for name, text in (("broken", "{"), ("old", '{"format": 0}'), ("esc\x1b[2J", "[]")):
        (run.path.parent / name).mkdir()
        (run.path.parent / name / "config.json").write_text(text)
    shutil.copytree(run.path, run.path.parent / "z")
    edit(T.open_run(run.path.parent / "z"), lambda i: i["data"].update(name="\x1b[2Jname"))
    (run.path.parent / "link").symlink_to(run.path.parent / "nowhere")
    cli.main(["runs", str(run.path.parent)])
    out = capsys.readouterr().out
    assert all(name in out for name in ("broken ", "old ", "/r ", "/z "))
    assert out.count("cannot be read") == 3 and "\x1b" not in out


def test_pictures_that_are_none(run):
    file = run.path / "samples/epoch-0003.png"
    whole = file.read_bytes()
    Image.new("L", (12_000, 12_000)).save(file)  # 144 million pixels in 140 kB
    with pytest.raises(InputError, match="epoch-0003.png"): run.samples()
    for content in (whole[:len(whole) // 2], whole[:20], b"", b"GIF89a" + bytes(50)):
        file.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as a picture"): run.samples()
    (run.path / "samples/epoch-last.png").write_bytes(whole)
    assert run.epochs == [0, 1, 2, 3] and run.samples(2).shape == (9, 3, 32, 32)


def test_the_protocol_of_the_fid_is_kept(tmp_path, capsys):
    def hook(training, row): return {"fid": 50. - training.epoch, "kid": 0.}
    hook.protocol = dict(extractor="inception", n_fake=10_000, n_real=100, real="toy-birds", split="train",
                         weights="ema", seed=0, every=1)
    run = T.train(dataclasses.replace(TINY, epochs=2), tmp_path / "r", on_epoch_end=[hook], progress=False)
    best = "FID 48.0 (10k generated, 100 real train, inception; epoch 2)"
    assert run.info["fid"] == hook.protocol and cli.best_fid(run) == best
    cli.main(["runs", str(tmp_path)])
    assert best in capsys.readouterr().out
    cli.print_row(SimpleNamespace(run=run), run.history[-1])
    assert "FID 48.00 KID 0.00e+00 (10k generated, 100 real train, inception)" in capsys.readouterr().out
    assert "--n-fake cannot be given" in said("train", "--resume", run.path, "--n-fake", 500)
    hook.protocol = hook.protocol | dict(n_fake=500)
    with pytest.raises(InputError, match="other numbers in the same column"):
        T.resume(run.path, epochs=3, on_epoch_end=[hook], progress=False)
    assert cli.stored_options(run)["fid_every"] == 1 and len(run.history) == 2
