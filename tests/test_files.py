"""Guards of other people's folders and files, and of a cache that must not lie."""
import io
import json
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_course import imagefiles, storage
from gan_course.core import ImageSet, InputError, progress_bar
from gan_course.data import at_size, has_split, load_images
from gan_course.imagefiles import drawn, list_images, open_picture, read_rgb
from gan_course.runs import open_run
from gan_course.settings import TrainConfig
from gan_course.sources import from_folder, size_of
from gan_course.storage import cached, write_json
from gan_course.training import resume, train


def pictures(folder, n=4, colour="red", ext="png", size=(32, 32), mode="RGB"):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n): Image.new(mode, size, colour).save(folder/f"{i:03}.{ext}")
    return folder


def load(folder, split="train", **how): return load_images(folder, split, **dict(size=32, progress=False) | how)


def mean(images): return images.images.float().mean((0, 2, 3)).tolist()


# --- the cache

def test_without_assertions_the_cache_is_right(tmp_path, root):
    here = pictures(tmp_path/"a")
    code = f"from gan_course import load_images; print(len(load_images({str(here)!r}, size=32, progress=False)))"
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4"] and len(load(here)) == 4


def test_an_entry_belongs_to_a_folder_and_its_content(tmp_path, root):
    def make(place, colour):
        here = pictures(tmp_path/place/"photos", colour=colour, ext="bmp")
        for file in here.iterdir(): os.utime(file, (0, 0))
        return here

    assert mean(load(make("one", "red"))) == [255, 0, 0]
    assert mean(load(make("two", "blue"))) == [0, 0, 255]
    assert mean(load(make("one", "yellow"))) == [255, 255, 0]  # names, sizes and dates as before
    assert len(list((root/"cache").glob("*.npy"))) == 2  # the red ones are gone
    key = {json.loads(f.read_text())["key"]: f for f in (root/"cache").glob("*.json")}
    assert len(key) == 2


@pytest.mark.parametrize("spoil", [
    lambda npy, js: npy.write_bytes(npy.read_bytes()[:3000]),
    lambda npy, js: npy.write_bytes(b""),
    lambda npy, js: npy.write_bytes(os.urandom(999)),
    lambda npy, js: npy.write_bytes(npy.read_bytes()[:-1] + b"\x07"),
    lambda npy, js: np.save(npy, np.zeros((9, 3, 32, 32), np.uint8)),
    lambda npy, js: np.save(npy, np.zeros((0, 3, 32, 32), np.uint8)),
    lambda npy, js: js.write_text(""),
    lambda npy, js: js.write_text("{}"),
    lambda npy, js: js.write_text(js.read_text().replace('"key": "', '"key": "0')),
    lambda npy, js: (npy.unlink(), os.mkfifo(npy)),
])
def test_a_damaged_entry_is_made_anew(tmp_path, root, spoil):
    here = pictures(tmp_path/"a")
    right = load(here).images
    [npy], [js] = (root/"cache").glob("*.npy"), (root/"cache").glob("*.json")
    spoil(npy, js)
    for _ in range(2): assert torch.equal(load(here).images, right)
    assert npy.stat().st_size == right.numel() + 128


def test_what_was_skipped_is_tried_again(tmp_path, root, monkeypatch):
    here = pictures(tmp_path/"a")
    plain = imagefiles.read_rgb

    def short_of_memory(file, **how):
        if file.name == "002.png": raise MemoryError
        return plain(file, **how)

    with monkeypatch.context() as m, pytest.warns(UserWarning, match="002.png"):
        m.setattr(imagefiles, "_read_rgb", short_of_memory)
        assert len(load(here)) == 3
    assert len(load(here)) == 4


def test_many_may_write_the_same_entry(tmp_path):
    images = np.arange(64 * 12, dtype=np.uint8).reshape(64, 3, 2, 2)
    results, together = [], threading.Barrier(8)

    def rows():
        together.wait()
        yield from images

    def work(): results.append(cached("same", "k", lambda: (rows(), {"a": 1}), tmp_path))
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(results) == 8 and all(np.array_equal(r[0].numpy(), images) and r[1] == {"a": 1} for r in results)
    assert sorted(f.suffix for f in (tmp_path/"cache").iterdir()) == [".json", ".npy"]


@pytest.mark.parametrize("after", [0, 1000, 5000, 12288 + 128])
def test_a_disk_that_is_full_loses_nothing_that_was_decoded(tmp_path, monkeypatch, after):
    class Disk(io.FileIO):
        room = after

        def write(self, data):
            some = bytes(data)[:self.room]
            if not some: raise OSError(28, "No space left on device")
            self.room -= len(some)
            return super().write(some)

    monkeypatch.setattr(storage, "open", lambda path, mode="r", **k: Disk(path, "x+") if "x" in mode
                        else open(path, mode, **k), raising=False)
    storage._said.clear()
    made = []

    def rows():
        for i in range(4):
            made.append(i)
            yield np.full((3, 32, 32), i, np.uint8)

    with pytest.warns(UserWarning, match="not kept.*No space left"):
        images, facts = cached("full", "k", lambda: (rows(), {}), tmp_path)
    assert images[:, 0, 0, 0].tolist() == made == [0, 1, 2, 3] and not list((tmp_path/"cache").iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        cached("full", "k", lambda: (rows(), {}), tmp_path)


def test_another_content_with_the_same_sum_is_scaled_anew(root):
    one = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    one[0] = 200
    other = one.flip(0)
    for pixels in (one, other): assert at_size(ImageSet(pixels, name="a"), 4).images[:, 0, 0, 0].tolist() == \
        pixels[:, 0, 0, 0].tolist()


# --- folders as people have them

def test_a_class_may_be_named_like_a_split(tmp_path, root):
    for name in ("bus", "car", "train"): pictures(tmp_path/"vehicles"/name)
    for name in ("control", "test"): pictures(tmp_path/"trial"/name)
    with pytest.warns(UserWarning, match="train stands beside bus, car.*class"):
        assert load(tmp_path/"vehicles").classes == ["bus", "car", "train"]
    with pytest.warns(UserWarning, match="taken for a class"):
        assert load(tmp_path/"trial").classes == ["control", "test"]
    assert not has_split(tmp_path/"trial", "test")


def test_splits_by_their_other_names(tmp_path, root):
    for name, n in (("Training", 3), ("VAL", 2), ("test", 1)): pictures(tmp_path/"a"/name, n)
    with pytest.warns(UserWarning, match="left out.*VAL"): assert len(load(tmp_path/"a")) == 3
    with pytest.warns(UserWarning, match="left out.*VAL"): assert len(load(tmp_path/"a", "test")) == 1


def test_what_is_left_out_is_said(tmp_path, root):
    here = pictures(tmp_path/"a")
    Image.new("RGB", (32, 32)).save(here/"x.jfif", "JPEG")
    Image.new("RGB", (32, 32)).save(here/"picture", "PNG")
    for name in ("a.heic", "b.heic", "noending", "notes.txt"): (here/name).write_bytes(b"x")
    with pytest.warns(UserWarning, match="2 files .heic; 1 files without an ending") as said:
        assert len(load(here)) == 6  # a picture needs no ending
    assert ".txt" not in str(said[0].message)


def test_runs_inside_the_data_are_left_out_and_no_data(tmp_path, root, monkeypatch):
    here = pictures(tmp_path/"photos")
    pictures(here/"_runs"/"r"/"samples")
    (here/"_runs"/"r"/"config.json").write_text("{}")
    monkeypatch.chdir(here)
    with pytest.warns(UserWarning, match="1 folders of runs"): images = load(".")
    assert len(images) == 4 and images.name == "photos" and images.classes is None
    for place in ("_runs/r", "_runs/r/samples"):
        with pytest.raises(InputError, match="folder of a run"): load(f"./{place}")
    (here/"pictures.zip").write_bytes(b"x")
    with pytest.raises(InputError, match="unpack archives"): load("pictures.zip")


def test_names_that_are_not_utf8(tmp_path, root):
    place = os.fsencode(tmp_path) + b"/latin1-\xe9"
    os.mkdir(place)
    here = Path(os.fsdecode(place))
    for file in pictures(tmp_path/"plain", 3).iterdir():
        os.rename(file, place + b"/caf\xe9-" + os.fsencode(file.name))
    for _ in range(2): assert len(load(here)) == 3
    write_json(tmp_path/"c.json", {"data": str(here)})
    assert json.loads((tmp_path/"c.json").read_text(encoding="utf-8"))["data"] == str(here)


# --- strangers' files

def test_only_listed_formats_are_opened(tmp_path, root, monkeypatch):
    here = pictures(tmp_path/"a")
    (tmp_path/"bin").mkdir()
    gs = tmp_path/"bin"/"gs"
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path}/STARTED\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path/'bin'}:{os.environ['PATH']}")
    (here/"photo.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.warns(UserWarning, match="photo.jpg .no picture of a kind"): assert len(load(here)) == 4
    with pytest.raises(InputError, match="photo.jpg"): from_folder(here)
    assert not (tmp_path/"STARTED").exists()


def test_pictures_are_opened_in_one_place():
    for file in Path(imagefiles.__file__).parent.rglob("*.py"):
        opens = file.read_text().count("Image.open(")
        expected = {"imagefiles.py": 1, "runfiles.py": 1}.get(file.name, 0)  # runfiles: a PNG of its own, from its head
        assert opens == expected, file.name


def test_a_pipe_is_not_waited_for(tmp_path):
    here = pictures(tmp_path/"a")
    os.mkfifo(here/"a.png")
    code = f"""import warnings; warnings.simplefilter("ignore")
from gan_course.data import load_images
from gan_course.sources import from_folder
print(len(load_images({str(here)!r}, size=32, root={str(tmp_path/'d')!r}, progress=False)))
try: from_folder({str(here)!r})
except ValueError as e: print(e)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("4\n") and "no regular file" in done.stdout


def test_pictures_of_too_many_pixels_are_refused(tmp_path, monkeypatch):
    here = pictures(tmp_path/"a")
    monkeypatch.setattr(imagefiles, "MOST_PIXELS", 1000)
    with pytest.raises(InputError, match="32×32, more than 1,000 pixels"), open_picture(here/"000.png"): pass


def test_size_is_that_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path/"a.jpg", exif=exif)
    assert size_of([tmp_path/"a.jpg"]) == "40×20"


# --- range, grey, shape

@pytest.mark.parametrize("values, expected", [
    (np.full((4, 4), 100, np.uint16), 100), (np.full((4, 4), 1600, np.uint16), 100),
    (np.full((4, 4), 25600, np.uint16), 100), (np.full((4, 4), .5, np.float32), 128),
    (np.full((4, 4), 100, np.float32), 100), (np.full((4, 4), 25600, np.int32), 100),
])
def test_numbers_by_their_own_range(tmp_path, values, expected):
    Image.fromarray(values).save(tmp_path/"a.tiff")
    assert read_rgb(tmp_path/"a.tiff").getpixel((0, 0)) == (expected,) * 3


@pytest.mark.parametrize("values", [
    np.full((4, 4), -1, np.float32), np.full((4, 4), np.nan, np.float32), np.full((4, 4), 70000, np.int32)])
def test_numbers_of_no_known_range_are_refused(tmp_path, values):
    Image.fromarray(values).save(tmp_path/"a.tiff")
    with pytest.raises(InputError, match="its numbers go from"): read_rgb(tmp_path/"a.tiff")


def test_grey_folders_have_one_channel(tmp_path, root):
    here = pictures(tmp_path/"a", colour=100, mode="L")
    assert load(here).images.shape == (4, 1, 32, 32) and (load(here).images == 100).all()
    assert load(here, channels=3).img_channels == 3
    pictures(here/"more", 1)
    assert load(here).img_channels == 3
    assert (load(here, channels=1).images[-1] == 76).all()


def test_how_pictures_become_square(tmp_path, root):
    here = tmp_path/"wide"
    here.mkdir()
    image = Image.new("RGB", (96, 32), "black")
    image.paste("white", (0, 0, 32, 32))
    for i in range(2): image.save(here/f"{i}.png")
    with pytest.warns(UserWarning, match="cuts 67% of the pictures away"): assert load(here).images.max() == 0
    assert load(here, fit="pad").images[0, 0, 16, :9].min() == 255
    stretched = load(here, fit="stretch").images[0, 0]
    assert stretched[:, :9].min() == 255 and stretched[:, 13:].max() == 0
    with pytest.raises(InputError, match="fit"): load(here, fit="cut")


@pytest.mark.parametrize("data, how, match", [
    ("toy-birds", dict(fit="pad"), "fit is 'pad'.*belongs to a folder.*not to toy-birds"),
    ("cifar10", dict(channels=1), "channels is 1.*belongs to a folder"),
    (".", dict(crop="whole"), "crop is 'whole'.*belongs to cub200.*not to [.]"),
    ("toy-birds", dict(margin=.5), "margin is 0.5.*belongs to cub200")])
def test_an_option_that_does_not_belong_to_the_data_is_said(data, how, match, root):
    with pytest.raises(InputError, match=match): load(data, **how)


def test_a_limit_is_drawn_evenly_with_the_seed(tmp_path, root):
    for k, name in enumerate(("ant", "bee", "cow")): pictures(tmp_path/"a"/name, 20, colour=(80 * k, 0, 0))
    some = load(tmp_path/"a", limit=6)
    assert some.labels.tolist() == [0, 0, 1, 1, 2, 2] and some.classes == ["ant", "bee", "cow"]
    assert load(tmp_path/"a", limit=6, seed=None).labels.tolist() == [0] * 6  # as runs took them before
    assert len({tuple(drawn(1000, 10, seed)) for seed in range(20)}) == 20 and drawn(9, 10) == list(range(9))
    often = np.bincount([i for seed in range(600) for i in drawn(12, 4, seed)], minlength=12)
    assert abs(often / 600 - 1 / 3).max() < .1  # each as often as the others


def test_nothing_but_images_is_listed(tmp_path):
    (tmp_path/"notes.txt").write_text("x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list_images(tmp_path) == []


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    here = pictures(tmp_path/"a"/"x").parent
    plain = os.scandir

    def scandir(path):
        if str(path).endswith("closed"): raise PermissionError(13, "Permission denied")
        return plain(path)
    (here/"closed").mkdir()
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.warns(UserWarning, match="1 folders that cannot be read"): assert len(list_images(here)) == 4


def test_bars_are_quiet_where_nobody_looks(tmp_path, root, capfd, monkeypatch):
    load_images(pictures(tmp_path/"a"), size=32)
    list(progress_bar(range(3), "counting"))
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(progress_bar(range(3), "counting"))
    list(progress_bar(range(3), "hidden", show=False))
    seen = capfd.readouterr().err
    assert "counting" in seen and "hidden" not in seen
    for file in Path(imagefiles.__file__).parent.glob("*.py"):
        assert "tqdm(" not in file.read_text() or file.name == "core.py", file.name  # one home


def test_images_that_were_moved_are_known_by_what_they_hold(tmp_path, root):
    old = tmp_path/"old"
    for i, file in enumerate(sorted(pictures(old, 16).iterdir())): Image.new("RGB", (32, 32), (i, 0, 0)).save(file)
    config = TrainConfig(data=str(old), size=32, base_channels=4, batch_size=8, samples=4, epochs=1,
                         precision="float32")
    run = train(config, tmp_path/"run", progress=False)
    new = old.rename(tmp_path/"new")
    handed = load(new)
    assert len(resume(run.path, 2, images=handed, progress=False).history) == 2
    assert len(resume(run.path, 3, data=new, progress=False).history) == 3
    assert resume(run.path, 4, progress=False).config.data == str(new)
    handed.images[3] += 1
    with pytest.raises(InputError, match="with other pixels"): resume(run.path, 5, images=handed, progress=False)
    (new/"015.png").rename(new/"000a.png")
    with pytest.raises(InputError, match="with other pixels"): resume(run.path, 5, progress=False)
    (new/"000a.png").unlink()
    with pytest.raises(InputError, match="15 images of new"): resume(run.path, 5, data=new, progress=False)
    assert len(open_run(run.path).history) == 4


def test_a_run_sees_its_pictures_as_it_was_told(tmp_path, root):
    for name in "ab": pictures(tmp_path/"wide"/name, 20, size=(48, 32))
    for i, file in enumerate(sorted((tmp_path/"wide").rglob("*.png"))):
        with Image.open(file) as image: image.paste((0, 0, 6 * i), (0, 0, 12, 32)), image.save(file)
    config = TrainConfig(data=str(tmp_path/"wide"), size=32, fit="stretch", limit=16, seed=5, base_channels=4,
                         batch_size=8, samples=4, epochs=1, precision="float32")
    run = train(config, tmp_path/"run", progress=False)
    seen = load(tmp_path/"wide", fit="stretch", limit=16, seed=5)
    assert torch.equal(run.images(progress=False).images, seen.images) and seen.labels.tolist() == [0] * 8 + [1] * 8
    assert {tuple(x.flatten().tolist()) for x in run.images(limit=4, progress=False).images} < {
        tuple(x.flatten().tolist()) for x in seen.images}  # never others than it saw
    info = json.loads((tmp_path/"run"/"config.json").read_text())
    for part, name in (("train", "channels"), ("data", "fingerprint")): del info[part][name]
    write_json(tmp_path/"run"/"config.json", info)  # as before limits were drawn: the first ones
    first = load(tmp_path/"wide", fit="stretch", limit=16, seed=None)
    assert torch.equal(open_run(tmp_path/"run").images(progress=False).images, first.images)
