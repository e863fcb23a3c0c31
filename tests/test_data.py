"""Guards of image sets, files, the cache and the toy birds; what teaches stands in the notebooks 04, 32 and 33."""
import os
import subprocess
import sys
import urllib.error
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from gan_course import imagefiles, toybirds
from gan_course.core import ImageSet, InputError, seeded, to_float
from gan_course.data import at_size, augment, has_split, load_images, move_box
from gan_course.imagefiles import centre_square, cut_square, list_images, read_rgb
from gan_course.storage import data_root, open_rows, write_rows
from gan_course.toybirds import degrade, is_bird, obeys_rule, species_of, toy_birds, toy_scene


def picture(file, colour, size=(40, 30), mode="RGB", **options):
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file, **options)


def load(*args, **options): return load_images(*args, progress=False, **options)


def refused(match, *args, **options):
    with pytest.raises(InputError, match=match) as e: load(*args, **options)
    assert "\n" not in str(e.value)


# --- image sets

def test_an_image_set_of_what_is_at_hand():
    pixels = torch.randint(0, 256, (4, 3, 8, 8), generator=seeded(0), dtype=torch.uint8)
    given = ImageSet.of(pixels, "mine")
    assert given.images is pixels and given.name == "mine" and given.labels is None
    assert ImageSet.of(given) is given
    array = pixels.permute(0, 2, 3, 1).contiguous().numpy().transpose(0, 3, 1, 2)[:, :, ::-1]  # awkward strides
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = ImageSet.of(array)
    assert torch.equal(again.images, pixels.flip(2))


@pytest.mark.parametrize("images, match", [
    (torch.rand(2, 3, 8, 8), "float32: give uint8"),
    (np.zeros((2, 3, 8, 8)), "float64: give uint8"),
    (torch.zeros(3, 8, 8, dtype=torch.uint8), r"shape \(3, 8, 8\) were given: \(N,3,H,W\)"),
    (np.zeros((0, 3, 8, 8), np.uint8), "is empty"),
    (np.zeros((2, 8, 8, 3), np.uint8), "channels come second"),
    ([1, 2], "type list"),
    ("toy-birds", "type str"),
    (None, "type NoneType"),
])
def test_images_that_are_none(images, match):
    with pytest.raises(InputError, match=match) as e: ImageSet.of(images)
    assert "\n" not in str(e.value)


def test_core_and_storage_are_light():
    heavy = {"matplotlib", "PIL", "torchvision", "IPython", "accelerate"}
    code = f"import sys, gan_course.core, gan_course.storage\nassert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- augmentation, against loops over pixels

@pytest.fixture
def drawn():
    return torch.rand(6, 3, 16, 24, generator=seeded(0)) * 2 - 1, torch.rand(6, 7, generator=seeded(1))


def test_color_moves_brightness_then_saturation_then_contrast(drawn):
    for x, u, y in zip(*drawn, augment(*drawn, "color"), strict=True):
        b, s, c = u[:3].tolist()
        x = x.numpy() + b - .5
        grey = x.mean(0)
        x = grey + (x - grey) * 2 * s
        np.testing.assert_allclose(y.numpy(), x.mean() + (x - x.mean()) * (.5 + c), atol=1e-5)


def test_translation_moves_by_up_to_an_eighth_and_fills_with_zeros(drawn):
    x, u = drawn
    u[0, 3:5], u[1, 3:5] = 0, 1 - 1e-6  # both ends
    moved = set()
    for image, v, y in zip(x, u, augment(x, u, "translation"), strict=True):
        padded = F.pad(image, (3, 3, 2, 2))
        fits = [(a, b) for a in range(5) for b in range(7) if torch.equal(padded[:, a:a + 16, b:b + 24], y)]
        assert fits == [(int(v[3] * 5), int(v[4] * 7))]
        moved.add(fits[0])
    assert {(0, 0), (4, 6)} < moved


def test_cutout_is_one_square_of_half_the_side(drawn):
    x, u = drawn[0].add(2), drawn[1]  # nothing is 0
    u[0, 5:] = .5
    for image, v, y in zip(x, u, augment(x, u, "cutout"), strict=True):
        top, left = int(v[5] * 17) - 4, int(v[6] * 25) - 6
        image[:, max(0, top):max(0, top + 8), max(0, left):max(0, left + 12)] = 0
        assert torch.equal(image, y)
    assert (augment(x, u, "cutout")[0] == 0).sum() == 3 * 8 * 12


def test_an_unknown_augmentation_is_named(drawn):
    with pytest.raises(InputError, match="did you mean 'cutout'"): augment(*drawn, "color,cutuot")


# --- folders and the cache

@pytest.fixture
def folder(tmp_path):
    "Two classes, one of them nested, with things that are no images beside them."
    here = tmp_path/"pictures"
    picture(here/"owl"/"1.png", (255, 0, 0))
    picture(here/"owl"/"deep"/"2.JPG", (250, 0, 0))
    picture(here/"jay"/"1.webp", (0, 0, 255))
    picture(here/"jay"/".thumbnail.png", (0, 255, 0))
    picture(here/".trash"/"1.png", (0, 255, 0))
    (here/"owl"/"notes.txt").write_text("no image")
    return here


def test_class_folders(folder, root):
    images = load(folder, size=16)
    assert images.classes == ["jay", "owl"] and images.name == "pictures"
    assert images.labels.tolist() == [0, 1, 1] and images.labels.dtype == torch.int64
    assert images.images.shape == (3, 3, 16, 16) and images.images.dtype == torch.uint8
    assert images.images[0, 2].min() > 240 and images.images[1:, 0].min() > 240  # a blue jay, red owls
    assert load(folder, size=16, limit=2).labels.tolist() == [0, 1]


def test_flat_folder_has_no_labels(folder, root):
    picture(folder/"beside.png", (1, 2, 3))
    images = load(folder)
    assert len(images) == 4 and images.labels is None and images.classes is None and images.img_size == 64


def test_splits(folder, root, tmp_path):
    assert has_split(folder, "train") and not has_split(folder, "test")
    refused("has no test part", folder, "test")
    parts = tmp_path/"parts"
    (parts/"train").parent.mkdir()
    folder.rename(parts/"train")
    picture(parts/"test"/"owl"/"3.png", (9, 9, 9))
    (parts/"notes").mkdir()  # holds no images
    assert has_split(str(parts), "test") and len(load(parts, "test")) == 1
    assert load(parts).classes == ["jay", "owl"]  # test images do not leak into training
    (parts/"test").rename(parts/"Validation")
    assert has_split(parts) and len(load(parts, "test")) == 1


def test_cache_is_the_same_and_not_decoded_again(folder, root, monkeypatch):
    fresh = load(folder, size=16)
    assert [f.suffix for f in sorted((root/"cache").iterdir())] == [".json", ".npy"]
    with monkeypatch.context() as m:
        m.setattr(imagefiles, "_read_rgb", lambda *a, **k: pytest.fail("decoded again"))
        again = load(folder, size=16)
    assert torch.equal(fresh.images, again.images)
    assert torch.equal(fresh.labels, again.labels) and fresh.classes == again.classes
    assert load(folder, size=8).img_size == 8


def test_changed_file_invalidates(folder, root):
    before = load(folder, size=16).images
    picture(folder/"jay"/"1.webp", (0, 255, 0))
    os.utime(folder/"jay"/"1.webp", ns=(1, 1))
    after = load(folder, size=16).images
    assert after[0, 1].min() > 240 > before[0, 1].max() and torch.equal(before[1:], after[1:])


def test_corrupt_images_are_named_skipped_counted(folder, root):
    whole = (folder/"owl"/"1.png").read_bytes()
    (folder/"jay"/"2.png").write_bytes(whole[:60])
    (folder/"jay"/"3.jpg").write_bytes(b"")
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match="2 of 5 images .*jay/2.png.*jay/3.jpg") as said:
            images = load(folder, size=16)
        assert "\n" not in str(said[0].message)
        assert images.skipped == ["jay/2.png", "jay/3.jpg"] and "2 skipped" in repr(images)
        assert images.labels.tolist() == [0, 1, 1]


def test_folders_that_cannot_be_used(tmp_path, root):
    (tmp_path/"empty").mkdir()
    (tmp_path/"broken").mkdir()
    (tmp_path/"broken"/"a.png").write_bytes(b"x")
    refused("there are no images in", tmp_path/"empty")
    refused("none of the 1 images .* can be read.*a.png", tmp_path/"broken")
    refused("there is no folder", tmp_path/"missing")
    refused("there is no folder", str(tmp_path/"broken"/"a.png"))
    assert not list((root/"cache").iterdir())  # nothing half-made stays


def test_bad_arguments(root):
    refused("did you mean 'cifar10'.*path of a folder", "cifar")
    refused("did you mean 'test'", "toy-birds", "tset")
    refused("size has to be at least 1", "toy-birds", size=0)
    refused("limit has to be at least 1", "toy-birds", limit=-1)
    refused("32 or 64 pixels, not at 48", "toy-birds", size=48)


def test_interrupted_decoding_leaves_no_cache(folder, root, monkeypatch):
    def stop(*a): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(imagefiles, "_cut_square", stop)
        with pytest.raises(KeyboardInterrupt): load(folder)
    assert not list((root/"cache").glob("*.npy")) and not list((root/"cache").glob(".*"))
    assert len(load(folder)) == 3


def test_root_that_cannot_be_written(folder, tmp_path):
    (tmp_path/"file").write_text("no folder")
    with pytest.warns(UserWarning, match="GAN_COURSE_DATA"): images = load(folder, root=tmp_path/"file")
    assert len(images) == 3


def test_large_files_are_mapped_and_never_changed(tmp_path):
    file = tmp_path/"rows.npy"
    pieces = (np.full((k, 1, 2, 2), k, np.uint8) for k in (3, 9, 100))
    with open(file, "wb") as f: assert write_rows(f, pieces) == 112
    before = file.read_bytes()
    mapped = open_rows(file, map_above=0)
    mapped[:] = 7
    assert file.read_bytes() == before and mapped.shape == (112, 1, 2, 2)
    assert len(open_rows(file)) == 112 and open_rows(file)[3, 0, 0, 0] == 9
    assert isinstance(np.load(file, mmap_mode="c"), np.memmap)
    for damaged in (b"", b"no array"):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read as an .npy file"): open_rows(file)


def test_links_in_circles_end(folder, monkeypatch):
    (folder/"owl"/"again").symlink_to(folder)
    visits, real_path = [], os.path.realpath
    monkeypatch.setattr(imagefiles.os.path, "realpath", lambda p: visits.append(p) or real_path(p))
    assert len(list_images(folder)) == 3
    assert len(visits) < 10  # with two links, going round would take 2⁴⁰ steps


def test_progress_off_is_silent(folder, root, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folder)
    assert capfd.readouterr() == ("", "")


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path))
    assert data_root() == tmp_path and data_root("x") == Path("x")
    monkeypatch.delenv("GAN_COURSE_DATA")
    assert data_root().name == "gan-course"


# --- kinds of files

@pytest.mark.parametrize("name, mode, colour, expected", [
    ("grey.png", "L", 100, (100, 100, 100)),
    ("half.png", "RGBA", (200, 0, 0, 128), (227, 127, 127)),
    ("grey-half.png", "LA", (0, 128), (127, 127, 127)),
    ("print.jpg", "CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ("deep.png", "I;16", 100 * 256, (100, 100, 100)),
    ("one.bmp", "1", 1, (255, 255, 255)),
    ("palette.gif", "P", 0, (0, 0, 0)),
])
def test_every_mode_becomes_rgb(tmp_path, name, mode, colour, expected):
    picture(tmp_path/name, colour, mode=mode)
    image = read_rgb(tmp_path/name, enough=8)
    assert image.mode == "RGB"
    np.testing.assert_allclose(image.getpixel((0, 0)), expected, atol=3)


def test_exif_orientation(tmp_path):
    image = Image.new("RGB", (40, 20), "black")
    image.paste("red", (0, 0, 20, 20))  # red at the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: red at the top
    image.save(tmp_path/"turned.jpg", exif=exif, quality=95)
    upright = read_rgb(tmp_path/"turned.jpg")
    assert upright.size == (20, 40) and upright.getpixel((10, 5))[0] > 200 > 50 > upright.getpixel((10, 35))[0]
    assert read_rgb(tmp_path/"turned.jpg", upright=False).size == (40, 20)


def test_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path):
    y, x = np.mgrid[:600, :800]
    file = tmp_path/"large.jpg"
    Image.fromarray(np.stack([x // 4, y // 4, (x + y) // 8], -1).astype(np.uint8)).save(file, quality=95)
    full, small = read_rgb(file), read_rgb(file, enough=200)
    assert small.size == (400, 300)
    slow, quick = (cut_square(i, *centre_square(*i.size), 32).astype(int) for i in (full, small))
    assert abs(slow - quick).max() <= 4


# --- CUB-200-2011

BOXES = {1: (40, 30, 30, 20), 2: (2, 4, 30, 12), 3: (10, 10, 90, 40), 4: (70, 60, 40, 20), 5: (5, 5, 10, 10)}


@pytest.fixture
def cub(root):
    "Five photographs of 120×80 in the official layout: white in the box, black elsewhere; the fifth is absent."
    here = root/"CUB_200_2011"
    names = {i: f"{1 + i % 2:03}.Bird_{i % 2}/{i}.png" for i in BOXES}
    for i, (x, y, w, h) in BOXES.items():
        image = Image.new("RGB", (120, 80), "black")
        image.paste("white", (x, y, x + w, y + h))
        (here/"images"/names[i]).parent.mkdir(parents=True, exist_ok=True)
        if i < 5: image.save(here/"images"/names[i])

    def table(name, rows):
        (here/f"{name}.txt").write_text("".join(f"{k} {v}\n" for k, v in rows.items()))

    table("images", names)
    table("image_class_labels", {i: 1 + i % 2 for i in BOXES})
    table("bounding_boxes", {i: " ".join(f"{b:.1f}" for b in box) for i, box in BOXES.items()})
    table("train_test_split", {1: 1, 2: 1, 3: 1, 4: 0, 5: 1})
    table("classes", {1: "001.Bird_0", 2: "002.Bird_1"})
    return here


def assert_boxes_fit(images):
    "What is white in the image is what the box says, to half a pixel."
    for image, (x, y, w, h) in zip(images.images, images.boxes.tolist(), strict=True):
        cover = image[0].float() / 255
        assert abs(cover.sum().item() - w * h) < .02 * 64 * 64
        inside = torch.zeros(64, 64)
        inside[round(y):round(y + h), round(x):round(x + w)] = 1
        assert (cover - inside).abs().mean() < .03


def test_cub_box_crop(cub):
    images = load("cub200", margin=.25)
    assert len(images) == 3 and not images.skipped
    assert images.classes == ["Bird 0", "Bird 1"] and images.labels.tolist() == [1, 0, 1]
    centred, at_corner, too_large = images.boxes
    scale = 64 / (30 * 1.5)
    torch.testing.assert_close(centred, torch.tensor([7.5, 12.5, 30, 20]) * scale)
    torch.testing.assert_close(at_corner, torch.tensor([2, 4, 30, 12]) * scale)  # the corner stays the corner
    assert too_large[2] / too_large[3] == pytest.approx(90 / 40, rel=1e-4)  # not distorted
    assert too_large[2].item() == pytest.approx(64 / 1.5, rel=1e-4)
    assert_boxes_fit(images)


def test_cub_whole(cub):
    images = load("cub200", crop="whole")
    torch.testing.assert_close(images.boxes[1], torch.tensor([0, 4, 12, 12]) * 64 / 80)  # cut off at the left
    assert_boxes_fit(images)
    assert not torch.equal(images.images, load("cub200").images)  # the crop is part of the cache's key
    assert len(load("cub200", "test")) == 1


def test_cub_edge_is_repeated():
    image = Image.new("RGB", (20, 10), (10, 20, 30))
    assert (cut_square(image, -5, -12.5, 35, 16) == np.array([10, 20, 30], np.uint8)[:, None, None]).all()
    assert move_box((0, 0, 10, 10), 20, 20, 10, 64)[2:] == [0, 0]  # outside: no negative width


def test_cub_tables_that_do_not_fit(cub):
    refused("did you mean 'whole'", "cub200", crop="hole")
    refused("margin has to be at least 0", "cub200", margin=-1.)
    (cub/"bounding_boxes.txt").write_text("1 0 0 5 5\n")
    refused("do not fit together: number 2", "cub200")
    (cub/"bounding_boxes.txt").write_text("one 0 0 5 5\n")
    refused("bounding_boxes.txt is not a table", "cub200")
    (cub/"bounding_boxes.txt").unlink()
    refused("bounding_boxes.txt cannot be read", "cub200")


# --- CIFAR-10 and Fashion-MNIST

def test_cifar10_that_is_not_whole(root):
    here = root/"cifar-10-batches-bin"
    here.mkdir(parents=True)
    refused("data_batch_1.bin is missing", "cifar10")
    (here/"test_batch.bin").write_bytes(bytes(3073 * 20))
    refused("test_batch.bin has 61,460 bytes instead of 30,730,000", "cifar10", "test")
    os.truncate(here/"test_batch.bin", 30_730_000)  # right length, all of class 0
    refused(r"exactly 1,000 images were expected, but their numbers are \[10000, 0", "cifar10", "test")


@pytest.mark.parametrize("name, what", [
    ("cifar10", "CIFAR-10"), ("fashion-mnist", "Fashion-MNIST"), ("cub200", "CUB-200-2011")])
def test_no_network(root, monkeypatch, name, what):
    import torchvision.datasets as sets

    def offline(*a, download=True, **k):
        raise urllib.error.URLError("no route") if download else RuntimeError("Dataset not found")

    for target in (sets.CIFAR10, sets.FashionMNIST): monkeypatch.setattr(target, "__init__", offline)
    monkeypatch.setattr(sets.utils, "download_and_extract_archive", offline)
    refused(f"{what} is not in .*cannot be downloaded.*no route.*or (unpack|put)", name)
    refused(f"{what} is not in .*download=True", name, download=False)


def real(name, split="train", **options):
    "A real data set, or a skipped test."
    try: return load(name, split, download=False, **options)
    except InputError: pytest.skip(f"{name} is not there; gan_course.data.load_images('{name}') downloads it")


def test_real_cifar10():
    images = real("cifar10")
    mean = images.images.double().mean((0, 2, 3)) / 255
    assert (mean - torch.tensor([.4914, .4822, .4465])).abs().max() < 1e-4
    spread = images.images.double().std((0, 2, 3), correction=0) / 255
    assert (spread - torch.tensor([.2470, .2435, .2616])).abs().max() < 1e-4


def test_real_fashion_mnist():
    images = real("fashion-mnist", limit=100)
    assert images.images.shape == (100, 1, 32, 32) and images.images[:, :, 2:-2, 2:-2].max() == 255
    assert not any(images.images[:, :, rim].any() for rim in (slice(0, 2), slice(30, 32)))


def test_other_size_is_antialiased(root):
    stripes = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    stripes[..., 1::4] = stripes[..., 2::4] = 255
    small = at_size(ImageSet(stripes, name="stripes"), 8, root).images
    assert (small[..., 1:-1].float() - 127.5).abs().max() < 40  # without antialiasing all would be 255
    birds = at_size(toy_birds(4), 16, root)
    assert birds.masks is birds.boxes is None and len(birds.labels) == 4  # they are not those of the new size


# --- toy birds and their judges

def test_toy_birds_are_the_same_scene_at_both_sizes():
    small, large = toy_birds(100, 5), toy_birds(100, 5, 64)
    assert (F.avg_pool2d(large.images.float(), 2) - small.images.float()).abs().mean() < 4
    assert torch.equal(small.labels, large.labels) and (large.boxes / 2 - small.boxes).abs().max() <= 1.5


def test_toy_birds_splits():
    train, test = load("toy-birds"), load("toy-birds", "test")
    assert (len(train), len(test), train.split, test.split) == (10_000, 2_000, "train", "test")
    assert train.labels.bincount().tolist() == [1250] * 8 and test.labels.bincount().tolist() == [250] * 8
    known = {i.numpy().tobytes() for i in train.images}
    assert len(known) == 10_000 and not any(i.numpy().tobytes() in known for i in test.images)


def test_toy_birds_accents_tell_nothing_but_the_rule():
    scenes = [toy_scene(400, seeded(6, b), .5) for b in range(20)]
    species, head, tail, place = (torch.cat([scene[k] for scene in scenes])
                                  for k in ("species", "head", "tail", "place"))
    assert abs((head == tail).float().mean() - .5) < .03
    for other in (species, place):  # each pair about equally often
        pairs = torch.bincount(other * 6 + head, minlength=48).float()
        assert pairs.min() > .7 * pairs.mean() and pairs.max() < 1.35 * pairs.mean()
    apart = (head != tail)
    assert torch.bincount((tail - head)[apart] % 6, minlength=6)[1:].min() > 600  # every other colour


def test_toy_birds_mask_is_the_bird():
    scene = toy_scene(50, seeded(8))
    images, masks = toybirds.draw_birds(scene, 64)
    bare = toybirds.draw_surroundings(scene, 64).clamp(0, 255).round().to(torch.uint8)
    changed = (images != bare).any(1)
    assert changed[masks].float().mean() > .999  # all of the mask is bird
    grown = F.max_pool2d(masks.float()[:, None], 3, 1, 1)[:, 0] > 0
    assert not (changed & ~grown).any()  # nothing is bird but the mask and the smooth pixels at its edge


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("obey", [True, False])
def test_judges_on_birds_that_keep_and_break_the_rule(size, obey):
    birds = toy_birds(1200, seed=4000 + size, size=size, obey=obey)
    assert (species_of(birds.images) == birds.labels).float().mean() >= .99
    assert (obeys_rule(birds.images) == obey).float().mean() >= .99
    assert is_bird(birds.images).float().mean() >= .99


def test_judges_on_spoiled_birds():
    birds = toy_birds(1200, seed=4001)
    spoilt = degrade(to_float(birds.images), seeded(0), blur=1.)
    assert (species_of(spoilt) == birds.labels).float().mean() >= .98
    assert obeys_rule(spoilt).float().mean() >= .98


def test_judges_take_floats_and_refuse_other_shapes():
    birds = toy_birds(64, seed=4002)
    assert torch.equal(species_of(birds.images), species_of(to_float(birds.images)))
    for wrong in (birds.images[:, :1], birds.images[:, :, :16, :16], birds.images[0]):
        with pytest.raises(InputError, match=r"take \(N,3,32,32\)"): obeys_rule(wrong)


def test_accents_are_far_apart():
    colours = torch.tensor(list(toybirds.ACCENTS.values())).float()
    assert torch.pdist(colours).min() > 90
