"""Images in, numbers out: networks, sources, `evaluate` and what it accepts and refuses; the cache; the hook.

Tests that need the Inception weights run where torch's hub folder holds them; those that take minutes run with -m slow.
"""
import contextlib
import dataclasses
import itertools
import json
import os
import re
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from gan_course import evaluation as E
from gan_course import features as X
from gan_course import fid
from gan_course import sources as S
from gan_course.core import (
    ImageSet,
    InputError,
    as_bytes,
    cut_grid,
    image_grid,
    seeded,
    show_images,
    to_float,
    to_uint8,
)
from gan_course.data import at_size, load_images
from gan_course.dcgan import build_model
from gan_course.evaluation import evaluate
from gan_course.fid import FeatureStats, frechet_from_stats, kid, prdc
from gan_course.gradcam import cams
from gan_course.runs import ready_run
from gan_course.session import draw_latents, undisturbed
from gan_course.settings import TrainConfig, as_image_set
from gan_course.steps import generate
from gan_course.storage import data_root
from gan_course.toy import ToyConfig, play
from gan_course.toybirds import degrade, species_of, toy_birds
from gan_course.training import train

WEIGHTS = Path(torch.hub.get_dir()) / "checkpoints" / Path(X.INCEPTION_URL).name
needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_file(), reason=f"no Inception weights: put {X.INCEPTION_URL} at {WEIGHTS}")
slow = pytest.mark.slow
needs_cifar10 = pytest.mark.skipif(
    not any((data_root() / f"cifar-10-batches-{kind}").is_dir() for kind in ("bin", "py")),
    reason=f"no CIFAR-10 in {data_root()}: gan_course.data.load_images('cifar10') downloads it")


def stats(x, **kw): return FeatureStats(**kw).update(x)


def small(images): return X.extract_features(images, "small", progress=False)


# --- images in

TINY = TrainConfig(limit=200, base_channels=4, batch_size=32, epochs=3, samples=4, precision="float32")


class Stub:
    """A quick extractor that calls itself Inception."""
    name, dim, version = "inception", 12, "stub"

    def __call__(self, images):
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        x = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 2)
        return x.flatten(1)


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(X, "_extractor", lambda name, device: Stub() if name == "inception" else X.Small())


def noise(n, size=16, seed=0):
    return torch.randint(0, 256, (n, 3, size, size), generator=seeded(seed), dtype=torch.uint8)


def write(folder, images):
    folder.mkdir(parents=True)
    for i, x in enumerate(images):
        Image.fromarray(x.permute(1, 2, 0).squeeze(-1).numpy()).save(folder / f"{i:04d}.png")
    return folder


@pytest.mark.parametrize("images, message", [
    (torch.rand(4, 3, 8, 8) * 2 - 1.1, r"\[-1,1\] is expected"),
    (torch.rand(4, 3, 8, 8), r"look like \[0,1\]"),
    (torch.full((4, 3, 8, 8), float("nan")), "nan"),
    (torch.zeros(4, 2, 8, 8, dtype=torch.uint8), r"\(4, 2, 8, 8\)"),
    (torch.zeros(4, 8, 8, 3, dtype=torch.uint8), r"\(4, 8, 8, 3\)"),
    (torch.zeros(3, 8, 8, dtype=torch.uint8), r"\(3, 8, 8\)"),
    (torch.zeros(4, 3, 8, 8, dtype=torch.int64), "int64"),
])
def test_wrong_images_give_no_number(images, message, stub):
    for attempt in (lambda: small(images), lambda: evaluate(images, noise(30), progress=False)):
        with pytest.raises(InputError, match=message) as e: attempt()
        assert "\n" not in str(e.value)


def test_one_nan_among_many_pixels_is_found():
    x = torch.rand(4, 3, 8, 8) * 2 - 1
    x[2, 1, 3, 3] = float("nan")
    with pytest.raises(InputError, match="look for NaN"): X.check_images(x)


def test_wrong_sources_give_no_number(tmp_path, stub, root):
    real = noise(30)
    (tmp_path / "empty").mkdir()
    broken = write(tmp_path / "broken", noise(3))
    (broken / "0001.png").write_bytes(b"no image")
    for fake, message in ((tmp_path / "none", "there is no folder"), (tmp_path / "empty", "no images in .*empty"),
                          (broken, "0001.png cannot be read"), (noise(1), "the tensor has 1 images"),
                          (42, "a int was given"), ("toy-brids", "toy-birds"), ("toy-birds-dcgn", "toy-birds-dcgan")):
        with pytest.raises(InputError, match=message) as e: evaluate(fake, real, progress=False)
        assert "\n" not in str(e.value)
    with pytest.raises(InputError, match="nothing to compare with"): evaluate(noise(5), progress=False)
    with pytest.raises(InputError, match="extractor 'vgg'"): evaluate(noise(9), real, extractor="vgg", progress=False)
    G = build_model("dcgan", base_channels=4)[0]
    with pytest.raises(InputError, match="n_fake is 1"): evaluate(G, real, n_fake=1, progress=False)
    for n in (1, 0, -1):
        for how in (dict(n_real=n), dict(n_fake=n)):
            with pytest.raises(InputError, match=f"{n} images were asked for: ask for 2 or more"):
                evaluate(noise(30), real, progress=False, **how)
    for name, value in dict(keep=0, k=0, batch_size=10**9).items():
        with pytest.raises(InputError, match=f"{name} has to be"):
            evaluate(noise(30), real, progress=False, **{name: value})


def test_few_images_have_a_distance_and_no_neighbours(stub, root):
    with pytest.warns(UserWarning, match="left out: 4 images have no 5 neighbours"):
        result = evaluate(noise(4, seed=1), noise(30), progress=False)
    assert list(result.values) == ["fid", "kid"] and "n_fake" in result.protocol and "4 images" in repr(result)
    assert "precision" in evaluate(noise(4, seed=1), noise(30), k=3, progress=False).values


def test_without_weights_and_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    import urllib.error

    import torch_fidelity.feature_extractor_inceptionv3 as theirs
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    def offline(*a, **k): raise urllib.error.URLError("no network")
    monkeypatch.setattr(theirs, "load_state_dict_from_url", offline)
    with pytest.raises(InputError) as e: X.load_inception()
    message = str(e.value)
    assert str(tmp_path / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth") in message
    assert X.INCEPTION_URL in message
    assert "--extractor small" in message and "no FID" in message and "\n" not in message


def test_inception_sees_pixels_as_the_original_did(monkeypatch):
    def mean_of_pixels(): return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Identity())
    monkeypatch.setattr(X, "load_inception", mean_of_pixels)
    seen = X.Inception()(torch.full((1, 3, 8, 8), 64, dtype=torch.uint8))
    assert torch.equal(seen, torch.full((1, 3), -.5))  # (64 - 128) / 128


def test_the_small_extractor_knows_toy_birds():
    birds = toy_birds(1000, seed=77)
    with torch.no_grad(): species = X.get_extractor("small").net(birds.images / 127.5 - 1)[0].argmax(1)
    assert (species == birds.labels).float().mean() > .9


def test_grey_is_repeated():
    grey = noise(4)[:, :1]
    assert X.check_images(grey).shape == (4, 3, 16, 16)
    assert torch.equal(small(grey), small(grey.repeat(1, 3, 1, 1)))


def test_extraction_does_not_depend_on_the_batch_and_takes_floats():
    x = toy_birds(20, seed=5).images
    whole = X.extract_features(x, "small", batch_size=20, progress=False)
    assert torch.allclose(whole, X.extract_features(x, "small", batch_size=7, progress=False), atol=1e-5)
    assert torch.allclose(whole, X.extract_features(x.float() / 127.5 - 1, "small", progress=False), atol=1e-5)
    with pytest.raises(InputError, match="empty"): X.extract_features(x[:0], "small", progress=False)


# --- evaluate

def test_evaluate_says_its_whole_protocol(tmp_path, stub, root):
    real = ImageSet(noise(80), name="noise", split="test")
    result = evaluate(noise(60, seed=1), real, progress=False)
    assert list(result.values) == ["fid", "kid", "precision", "recall", "density", "coverage"]
    text = repr(result)
    for part in ("FID", "60 images", "80 images", "noise", "test split", "inception", "k = 5", "16×16"):
        assert part in text
    result.to_json(tmp_path / "r.json")
    stored = json.loads((tmp_path / "r.json").read_text())
    assert stored["values"] == result.values
    assert stored["protocol"]["n_real"] == 80 and stored["protocol"]["n_fake"] == 60
    a, b = (X.extract_features(x, progress=False) for x in (noise(60, seed=1), real.images))
    assert result.values["fid"] == pytest.approx(frechet_from_stats(stats(b), stats(a)), rel=1e-9)
    assert result.values["kid"] == pytest.approx(kid(b, a), abs=1e-12)
    assert {k: result.values[k] for k in ("precision", "recall", "density", "coverage")} == pytest.approx(prdc(b, a))


def test_another_extractor_never_says_fid(root):
    result = evaluate(noise(80, 32), noise(90, 32, seed=1), extractor="small", progress=False)
    assert "fid" not in result.values and "kid" not in result.values
    assert "Fréchet distance (small)" in repr(result) and not re.search(r"\bFID\b|\bKID\b(?!,)", repr(result))


def test_folders_are_read_at_their_own_size(tmp_path, stub, root):
    pictures = [noise(1, size, seed=i)[0] for i, size in enumerate([20, 33, 33, 20, 33] * 4)]
    folder = write(tmp_path / "mixed", pictures)
    s = E.gather(S.from_folder(folder), batch_size=4, progress=False)
    expected = torch.cat([Stub()(p[None]) for p in pictures])
    np.testing.assert_allclose(s.mean, expected.double().mean(0), rtol=1e-6)
    assert s.n == 20
    with pytest.warns(UserWarning, match="that difference is part of the number"):
        result = evaluate(folder, write(tmp_path / "other", noise(30)), progress=False)
    assert result.protocol["n_fake"] == 20 and result.protocol["real"] == "other"
    assert result.protocol["size_fake"] == "20×20 to 33×33"
    assert str(folder) in repr(result) and str(tmp_path / "other") in repr(result)


def test_a_generator_a_run_and_its_path_give_the_same(tmp_path, stub, root):
    run = train(TINY, tmp_path / "tiny", progress=False)
    real = load_images("toy-birds", limit=100)
    by_run, by_path = (evaluate(x, real, n_fake=50, progress=False) for x in (run, str(run.path)))
    by_G = evaluate(run.generator(), real, n_fake=50, batch_size=7, progress=False)
    assert by_run.values == by_path.values == pytest.approx(by_G.values, rel=1e-4)
    assert by_run.protocol["weights"] == "last" and by_run.protocol["seed"] == 0 and by_run.protocol["fake"] == "tiny"
    assert by_run.protocol["epoch"] == TINY.epochs and f"weights last, epoch {TINY.epochs}, seed 0" in repr(by_run)
    assert evaluate(run, real, n_fake=50, seed=1, progress=False).values != by_run.values


def test_images_are_taken_at_random(root):
    by_class = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()
    taken = torch.cat(list(S.from_images(ImageSet(by_class, name=""), 50).batches(16)))[:, 0, 0, 0]
    assert len(set(taken.tolist())) == 50 and taken.min() < 30 and taken.max() > 170


# --- what `evaluate` takes

class Pixels(Dataset):
    """Pairs (image, label); images as tensors, arrays or pictures."""
    def __init__(self, images, form=lambda x: x): self.images, self.form = images, form
    def __len__(self): return len(self.images)
    def __getitem__(self, i): return self.form(self.images[i]), i


class Stream(IterableDataset):
    def __init__(self, images): self.images = images
    def __iter__(self): return iter(self.images)


def picture(x): return Image.fromarray(x.permute(1, 2, 0).numpy())


FORMS = {  # of the same 60 images; what the protocol calls them
    "tensor": (lambda x: x, "tensor"),
    "float tensor": (to_float, "tensor"),
    "numpy array": (lambda x: x.numpy(), "numpy array"),
    "read-only array": (lambda x: np.broadcast_to(to_float(x).double().numpy(), x.shape), "numpy array"),
    "image set": (lambda x: ImageSet(x, name="mine"), "image set"),
    "float image set": (lambda x: ImageSet(to_float(x), name="mine"), "image set"),
    "dataset of pairs": (Pixels, "dataset"),
    "dataset of arrays": (lambda x: Pixels(to_float(x), torch.Tensor.numpy), "dataset"),
    "dataset of pictures": (lambda x: Pixels(x, picture), "dataset"),
    "tensor dataset": (TensorDataset, "dataset"),
    "iterable dataset": (Stream, "batches"),
    "loader of pairs": (lambda x: DataLoader(Pixels(x), 7), "batches"),
    "loader of tensors": (lambda x: DataLoader(Stream(to_float(x)), 64), "batches"),
    "list of batches": (lambda x: list(x.split(25)), "batches"),
    "list of pairs": (lambda x: [(part, None) for part in x.numpy().reshape(6, 10, *x.shape[1:])], "batches"),
    "iterator": (lambda x: iter(to_float(x).split(11)), "batches"),
    "source": (lambda x: S.Source("mine", 60, x.split, "16×16"), "source"),
    "source of floats": (lambda x: S.from_tensor(to_float(x)), "tensor"),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_in_any_form_give_the_same(form, stub, root):
    make, kind = FORMS[form]
    images, other = noise(60, seed=1), noise(50)
    expected = evaluate(images, other, progress=False).values
    as_fake, as_real = evaluate(make(images), other, progress=False), evaluate(other, make(images), progress=False)
    assert as_fake.values == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert as_real.values["fid"] == pytest.approx(expected["fid"], rel=1e-6)
    assert as_real.values["recall"] == pytest.approx(expected["precision"])
    p, q = as_fake.protocol, as_real.protocol
    assert (p["fake_kind"], p["n_fake"], p["size_fake"]) == (kind, 60, "16×16")
    assert (q["real_kind"], q["n_real"], q["size"]) == (kind, 60, "16×16")


@pytest.mark.parametrize("form", [form for form in FORMS if form != "source of floats"])
def test_so_many_images_are_taken_as_are_asked_for(form, stub, root):
    result = evaluate(FORMS[form][0](noise(60)), noise(50, seed=1), n_fake=33, progress=False)
    assert result.protocol["n_fake"] == 33


def test_an_endless_iterator_is_asked_for_what_is_needed_only():
    asked = []
    def batches():
        for i in itertools.count():
            asked.append(i)
            yield noise(10, seed=i)
    taken = S.source_of(batches(), 25)
    assert [len(x) for x in taken.batches(7)] == [7, 3, 7, 3, 5] and asked == [0, 1, 2]
    with pytest.raises(InputError, match="can be read once only"): list(taken.batches(7))
    again = S.source_of(list(noise(30).split(10)))
    assert len(torch.cat(list(again.batches(4)))) == len(torch.cat(list(again.batches(4)))) == 30


class Flat(torch.nn.Module):
    """Takes latents (B,6) only; its images depend on each number."""
    latent_dim = 6
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 48)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer.reset_parameters()
    def forward(self, z): return self.layer(z).tanh().view(-1, 3, 4, 4)


class Deep(torch.nn.Module):
    """The same with latents (B,6,1,1), as most public DCGANs take them."""
    latent_dim = 6
    def __init__(self):
        super().__init__()
        flat = Flat().layer
        self.layer = torch.nn.ConvTranspose2d(6, 3, 4)
        self.layer.load_state_dict(dict(weight=flat.weight.T.reshape(6, 3, 4, 4), bias=torch.zeros(3)))
        self.bias = torch.nn.Parameter(flat.bias.detach().view(3, 4, 4))
    def forward(self, z): return (self.layer(z) + self.bias).tanh()


def test_generators_of_any_kind_give_the_same(stub, root):
    flat, deep = Flat(), Deep()
    real = noise(50, 4)
    def measure(G, **kw): return evaluate(G, real, n_fake=40, progress=False, **kw)
    expected = measure(flat)
    assert expected.protocol["fake"] == "Flat" and expected.protocol["fake_kind"] == "generator"
    assert expected.protocol["size_fake"] == "4×4"
    for G, kw in ((deep, {}), (lambda z: flat(z), dict(latent_dim=6)), (lambda z: deep(z), dict(latent_dim=(6, 1, 1))),
                  (lambda z: deep(z), dict(latent_dim=6)), (lambda z: to_uint8(flat(z)), dict(latent_dim=6)),
                  (lambda z: flat(z).detach().numpy(), dict(latent_dim=[6])), (flat, dict(batch_size=3))):
        assert measure(G, **kw).values == pytest.approx(expected.values, rel=1e-3, abs=1e-6)
    assert measure(flat, seed=1).values != expected.values


def test_a_network_is_left_as_it_was():
    G = torch.nn.Sequential(torch.nn.Unflatten(1, (3, 2, 2)), torch.nn.BatchNorm2d(3), torch.nn.Tanh()).train()
    G[1].eval()
    before = G[1].running_mean.clone()
    list(S.from_generator(G, 20, latent_dim=12).batches(8))
    assert G.training and not G[1].training and torch.equal(G[1].running_mean, before)


def bad(images): return lambda z: images(z.shape[0])


@pytest.mark.parametrize("G, latent_dim, message", [
    (bad(lambda n: torch.rand(n, 3, 4, 4)), 6, r"look like \[0,1\]"),
    (bad(lambda n: torch.full((n, 3, 4, 4), float("nan"))), 6, "NaN"),
    (bad(lambda n: 5 * torch.randn(n, 3, 4, 4)), 6, r"\[-1,1\] is expected"),
    (bad(lambda n: torch.zeros(n, 3, 4, 4, dtype=torch.int64)), 6, "int64"),
    (bad(lambda n: torch.zeros(n, 4, 4, 3)), 6, "channels come second"),
    (bad(lambda n: torch.zeros(n, 48)), 6, r"gave images of shape \(16, 48\)"),
    (bad(lambda n: torch.zeros(n + 1, 3, 4, 4)), 6, r"gave images of shape \(17, 3, 4, 4\)"),
    (bad(lambda n: None), 6, "gave a NoneType"),
    (bad(lambda n: 1 / 0), 6, r"latents \(16, 6\): division by zero.*latents \(16, 6, 1, 1\): division by zero"),
    (Flat(), 7, r"latents \(16, 7\): .*cannot be multiplied"),
    (Flat(), 0, "latent_dim is 0"),
    (Flat(), "6", "latent_dim is '6'"),
    (Flat(), (6, -1), r"latent_dim is \(6, -1\)"),
    (torch.nn.Tanh(), None, "Tanh has no latent_dim: say how long"),
    (lambda z: z, None, "function has no latent_dim"),
    (Flat, 6, "positional argument"),
])
def test_generators_that_make_no_images_are_refused(G, latent_dim, message, stub, root):
    with pytest.raises(InputError, match=message) as e:
        evaluate(G, noise(30), n_fake=40, latent_dim=latent_dim, progress=False)
    assert "\n" not in str(e.value)


def test_a_fault_late_in_the_stream_is_found(stub, root):
    def nan_in_the_end(z): return torch.where(z[:, :1, None, None] == last, float("nan"), -.5).expand(-1, 3, 4, 4)
    last = draw_latents(100, 6, 0, 7)[-1, 0]
    batches = [*-torch.ones(2, 4, 3, 4, 4), torch.full((4, 3, 4, 4), 1.5)]
    for fake, message in ((nan_in_the_end, "NaN"), (batches, "between 1.5 and 1.5")):
        with pytest.raises(InputError, match=message):
            evaluate(fake, noise(30, 4), n_fake=100, latent_dim=6, progress=False)


def test_one_bright_image_is_no_mistake():
    images = torch.rand(33, 3, 4, 4) * 2 - 1
    images[[0, 16, 32]] = .5
    for batch_size in (1, 16, 32):
        assert len(torch.cat(list(S.checked(images.split(batch_size), "images")))) == 33
    for n in (3, 40):
        with pytest.raises(InputError, match=r"images: .*look like \[0,1\]"):
            list(S.checked([torch.rand(n, 3, 4, 4)], "images"))


@pytest.mark.parametrize("fake, message", [
    ([], "there are none"), ([1, 2], "gave a int"), ({"image": noise(4)}, "gave a str"), (iter([]), "there are none"),
    ([noise(4)[0, 0]], r"\(16, 16\)"), ([torch.rand(20, 3, 4, 4)], r"batches from a list: .*look like \[0,1\]"),
    (DataLoader(Pixels(torch.rand(20, 3, 4, 4)), 5), r"look like \[0,1\]"), ([noise(1)], "1 images"),
    (Pixels(torch.rand(20, 3, 4, 4)), r"a Pixels: .*look like \[0,1\]"), (Pixels(noise(1)), "a Pixels has 1 images"),
    (Pixels(torch.zeros(9, 4, 4)), r"a Pixels gave an image of shape \(4, 4\)"),
    (Dataset(), "a Dataset has no length"), (np.zeros((4, 8, 8, 3), np.uint8), "channels come second"),
    (np.zeros((4, 3, 8, 8)), r"look like \[0,1\]"), (np.array(["a"]), "plain real numbers"),
    (ImageSet(torch.rand(20, 3, 4, 4), name="mine"), r"mine: .*look like \[0,1\]"),
    (stats(torch.randn(30, 12), extractor="inception"), "they come second"),
])
def test_what_holds_no_images_is_refused(fake, message, stub, root):
    with pytest.raises(InputError, match=message) as e: evaluate(fake, noise(30), progress=False)
    assert "\n" not in str(e.value)


def test_generators_as_real_images_are_refused(stub, root):
    for real in (Flat(), lambda z: z, ready_run("toy-birds-dcgan"), "toy-birds-dcgan"):
        with pytest.raises(InputError, match="was given as real: generated images come first"):
            evaluate(noise(30), real, progress=False)


def test_a_ready_run_is_measured_by_its_name(root):
    how = dict(n_fake=100, n_real=200, split="test", extractor="small", progress=False)
    by_name = evaluate("toy-birds-dcgan", **how)
    by_run = evaluate(ready_run("toy-birds-dcgan"), "toy-birds", **how)
    assert by_name.values == by_run.values
    assert by_name.protocol["fake_kind"] == "run" and by_name.protocol["real"] == "toy-birds"


# --- statistics in place of real images

def features_of(images): return Stub()(images)


def test_statistics_stand_for_real_images(stub, root):
    fake, real = noise(60, seed=1), noise(80)
    expected = evaluate(fake, real, progress=False)
    whole = stats(features_of(real), extractor="inception", keep=100)
    by_stats = evaluate(fake, whole, progress=False)
    assert by_stats.values == pytest.approx(expected.values, rel=1e-6)
    assert by_stats.protocol["real_kind"] == "statistics" and by_stats.protocol["n_real"] == 80
    assert "80 images of statistics" in repr(by_stats)
    bare = stats(features_of(real), extractor="inception")
    with pytest.warns(UserWarning, match="all numbers but fid are left out"):
        distance = evaluate(fake, bare, progress=False)
    assert distance.values == {"fid": pytest.approx(expected.values["fid"], rel=1e-6)}
    assert distance.protocol["n_kept_real"] == 0 and "all but the first" not in repr(distance)
    with pytest.raises(InputError, match="extractor 'small' cannot be compared"):
        evaluate(fake, stats(torch.randn(30, 12), extractor="small"), progress=False)
    with pytest.raises(InputError, match="40 images were asked for, but statistics of 80"):
        evaluate(fake, whole, n_real=40, progress=False)


def test_statistics_of_pytorch_fid_stand_for_real_images(tmp_path, stub, root):
    fake, real = noise(60, seed=1), noise(80)
    expected = evaluate(fake, real, progress=False)
    x = features_of(real).double().numpy()
    np.savez_compressed(tmp_path / "real.npz", mu=x.mean(0), sigma=np.cov(x, rowvar=False))
    for given in (tmp_path / "real.npz", str(tmp_path / "real.npz"), S.read_moments(tmp_path / "real.npz")):
        with pytest.warns(UserWarning, match="all numbers but fid are left out"):
            result = evaluate(fake, given, progress=False)
        assert result.values == {"fid": pytest.approx(expected.values["fid"], rel=1e-6)}
        assert result.protocol["n_real"] is None and result.protocol["real_path"] == str(tmp_path / "real.npz")
        assert "an unknown number of images of" in repr(result) and json.loads(json.dumps(result.asdict()))
    with pytest.warns(UserWarning, match="12 images in 12 dimensions"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "all numbers")
        evaluate(fake[:12], tmp_path / "real.npz", progress=False)
    with pytest.raises(InputError, match="they come second"): evaluate(tmp_path / "real.npz", real, progress=False)
    with pytest.raises(InputError, match="extractor 'inception' cannot be compared with those of 'small'"):
        evaluate(fake, tmp_path / "real.npz", extractor="small", progress=False)


def pickled(path): np.savez(path, mu=np.array([Evil()], dtype=object), sigma=np.eye(1))


class Evil:
    def __reduce__(self): return (os.mkdir, (str(Evil.path),))


@pytest.mark.parametrize("write_it, message", [
    (lambda p: None, "No such file"),
    (lambda p: p.write_bytes(b"no zip"), "not a zip file"),
    (lambda p: np.savez(p, mean=np.zeros(3)), "mu.npy"),
    (lambda p: np.savez(p, mu=np.zeros(3), sigma=np.eye(4)), r"shapes \(3,\) and \(4, 4\)"),
    (lambda p: np.savez(p, mu=np.array(["a"]), sigma=np.eye(1)), "could not convert"),
    (lambda p: np.savez_compressed(p, mu=np.zeros(3), sigma=np.zeros((5000, 5000))), "they unpack to 200,0"),
    (pickled, "allow_pickle=False"),
])
def test_files_that_are_no_statistics_are_refused(write_it, message, tmp_path, stub, root):
    Evil.path = tmp_path / "trace"
    write_it(tmp_path / "x.npz")
    with pytest.raises(InputError, match=f"x.npz cannot be read as statistics of pytorch-fid.*{message}") as e:
        evaluate(noise(30), tmp_path / "x.npz", progress=False)
    assert "\n" not in str(e.value) and not Evil.path.exists()


def test_a_file_cut_off_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", mu=np.zeros(40), sigma=np.eye(40))
    whole = (tmp_path / "x.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.npz") as file: start = file.getinfo("sigma.npy").header_offset
    (tmp_path / "cut.npz").write_bytes(whole[:start + 500] + b"\0" * 100 + whole[start + 600:])
    (tmp_path / "short.npz").write_bytes(whole[:start + 500])
    with pytest.raises(InputError, match="short.npz cannot be read"): S.read_moments(tmp_path / "short.npz")
    with pytest.raises(InputError, match="cut.npz cannot be read"): S.read_moments(tmp_path / "cut.npz")


def test_wrong_statistics_give_no_number(tmp_path, stub, root):
    for mu, sigma, message in ((np.full(12, np.nan), np.eye(12), "NaN"), (np.zeros(5), np.eye(5), "of 5 and of 12"),
                               (np.zeros(12), np.triu(np.ones((12, 12))), "not symmetric")):
        np.savez(tmp_path / "x.npz", mu=mu, sigma=sigma)
        with pytest.raises(InputError, match=message): evaluate(noise(30), tmp_path / "x.npz", progress=False)


def test_the_hook_takes_what_evaluate_takes(root):
    loader = DataLoader(Pixels(toy_birds(90, seed=3).images), 40)
    hook = E.fid_hook(loader, 1, 40, "small", n_real=80, progress=False)
    assert hook.protocol["n_real"] == 80 and hook.protocol["real"] == "batches from a DataLoader"
    bare = stats(torch.randn(99, 64), extractor="small")
    with pytest.raises(InputError, match="holds none"): E.fid_hook(bare, 1, 40, "small")


# --- the cache

def test_statistics_are_computed_once(root, monkeypatch):
    counted = []
    class Counting(Stub):
        def __call__(self, images): counted.append(len(images)); return super().__call__(images)
    def cost(images, extractor=None, **kw):
        counted.clear()
        s = E.real_stats(images, extractor or Counting(), progress=False, **kw)
        return sum(counted), s
    real = ImageSet(noise(40), name="noise")
    first, again = cost(real), cost(real)
    assert first[0] == 40 and again[0] == 0
    assert torch.equal(first[1].cov, again[1].cov) and torch.equal(first[1].features, again[1].features)
    other = noise(40)
    other[39, 2, 15, 15] ^= 1  # one bit of one pixel
    newer = Counting()
    newer.version = "2"
    held_out = ImageSet(noise(40), name="noise", split="test")
    for images, extractor, kw in ((ImageSet(other, name="noise"), None, {}), (held_out, None, {}),
                                  (real, None, dict(n=30)), (real, newer, {}), (real, None, dict(keep=20))):
        assert cost(images, extractor, **kw)[0] > 0
    for _ in range(2): assert cost(ImageSet(noise(40), name=""))[0] == 40  # nameless images are not kept


def spoilt(whole, other):
    """Files that are not what was kept: the bytes, and what is wrong with them."""
    half = bytearray(whole)
    half[len(half) // 2] ^= 1
    return {"empty": b"", "cut off": whole[:-9], "its head only": whole[:300], "no safetensors": b"cut off",
            "one bit": bytes(half), "of other images": other}


@pytest.mark.parametrize("name", spoilt(b"whole", b""))
def test_spoilt_statistics_are_made_anew(name, root):
    def measure(x): return E.real_stats(ImageSet(x, name="noise"), "small", progress=False)
    expected = measure(noise(40))
    file, = root.glob("cache/stats-*")
    whole = file.read_bytes()
    measure(noise(40, seed=1))
    other, = set(root.glob("cache/stats-*")) - {file}
    file.write_bytes(spoilt(whole, other.read_bytes())[name])
    found = measure(noise(40))
    assert torch.equal(found.cov, expected.cov) and torch.equal(found.features, expected.features)
    assert torch.equal(FeatureStats.load(file).cov, expected.cov)


def test_statistics_of_a_folder_replace_those_of_its_earlier_state(tmp_path, root):
    folder, other = (write(tmp_path / name, noise(30, seed=i)) for i, name in enumerate("ab"))
    def kept(): return {file.name for file in root.glob("cache/stats-*")}
    for place in (other, folder): E.real_stats(place, "small", progress=False)
    before = kept()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "0000.png")
    E.real_stats(folder, "small", progress=False)
    assert len(kept()) == len(before) == 2 and len(kept() & before) == 1
    E.real_stats(other, "small", progress=False)
    assert len(kept()) == 2
    for file in root.glob("cache/stats-*"): os.utime(file, (0, 0))  # nobody has asked for them in decades
    E.real_stats(ImageSet(noise(30), name="noise"), "small", progress=False)
    assert len(kept()) == 1 and not kept() & before


@pytest.mark.parametrize("obstacle", ("a file", "a folder", "full"))
def test_statistics_that_cannot_be_kept_are_there_and_it_is_said_once(obstacle, root, monkeypatch):
    real = ImageSet(noise(40), name="noise")
    expected = E.real_stats(real, "small", progress=False)
    file, = root.glob("cache/stats-*")
    file.unlink()
    if obstacle == "a file":
        file.parent.rmdir()
        file.parent.write_text("in the way")
    if obstacle == "a folder": (file / "in the way").mkdir(parents=True)
    if obstacle == "full":
        def full(tensors, path, notes): raise SafetensorError("I/O error: No space left on device (os error 28)")
        monkeypatch.setattr(fid, "save_file", full)
    with pytest.warns(UserWarning, match="statistics are not kept") as said:
        for _ in range(2): assert torch.equal(E.real_stats(real, "small", progress=False).cov, expected.cov)
    assert len([w for w in said if "not kept" in str(w.message)]) == 1


def test_threads_may_measure_the_same_at_once(root):
    real = ImageSet(noise(40), name="noise")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: E.real_stats(real, "small", progress=False), range(8)))
    assert all(torch.equal(s.cov, found[0].cov) for s in found)
    assert [file.suffix for file in (root / "cache").iterdir()] == [".safetensors"]


def test_a_changed_folder_is_measured_anew(tmp_path, stub, root):
    folder = write(tmp_path / "real", noise(30))
    before = evaluate(noise(30, seed=1), folder, progress=False)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "0000.png")
    assert evaluate(noise(30, seed=1), folder, progress=False).values["fid"] != before.values["fid"]


def test_another_folder_with_the_same_stamps_is_measured_anew(tmp_path, stub, root):
    for i, name in enumerate("ab"):
        (folder := tmp_path / name / "real").mkdir(parents=True)
        for j, x in enumerate(noise(10, seed=i)):
            Image.fromarray(x.permute(1, 2, 0).numpy()).save(folder / f"{j}.bmp")  # files of equal length
            os.utime(folder / f"{j}.bmp", (0, 0))
    one, other = (evaluate(noise(10, seed=5), tmp_path / name / "real", progress=False) for name in "ab")
    assert one.values["fid"] != other.values["fid"]


def test_a_folder_is_cut_as_the_run_saw_it(tmp_path, root):
    photographs = write(tmp_path / "photographs", noise(80, 48))
    config = dataclasses.replace(TINY, data=str(photographs), size=32, limit=None, epochs=1)
    run = train(config, tmp_path / "r", progress=False)
    def measure(real): return evaluate(run, real, n_fake=70, extractor="small", progress=False)
    by_itself, by_name = measure(None), measure(photographs)
    assert by_itself.values == by_name.values and by_name.protocol["size"] == "32×32"


# --- while training

def test_the_hook_fills_the_history_and_disturbs_nothing(tmp_path, stub, root):
    birds = load_images("toy-birds", limit=200)
    plain = train(TINY, tmp_path / "plain", progress=False)
    hook = E.fid_hook(birds, every=2, n_fake=40, progress=False)
    run = train(TINY, tmp_path / "measured", on_epoch_end=[hook], progress=False)
    assert [row["fid"] is not None for row in run.history] == [False, True, True]  # every second, and the last
    assert [row["kid"] is not None for row in run.history] == [False, True, True]
    assert [r["g_loss"] for r in run.history] == [r["g_loss"] for r in plain.history]
    assert (run.path / "checkpoints/best.safetensors").exists()
    columns = {"epoch", "fid", "d_acc_real", "d_acc_real_test", "d_acc_fake"}
    assert [set(row) for row in E.history_table(run)] == [columns] * 2


def test_the_hook_measures_the_average_with_the_same_latents(stub, root):
    birds = load_images("toy-birds", limit=100)
    G, ema = (build_model("dcgan", seed, base_channels=4)[0] for seed in (0, 1))
    training = SimpleNamespace(epoch=1, config=TINY, G=G, ema=ema.train())
    hook = E.fid_hook(birds, every=1, n_fake=40, progress=False)
    row = hook(training, {})
    expected = evaluate(training.ema, birds, n_fake=40, progress=False).values
    assert row == hook(training, {}) == {k: pytest.approx(expected[k], rel=1e-6) for k in ("fid", "kid")}
    assert training.ema.training  # the mode found


def test_the_hook_leaves_fid_empty_for_another_extractor(tmp_path, root):
    hook = E.fid_hook(load_images("toy-birds", limit=200), every=1, n_fake=80, extractor="small", progress=False)
    run = train(TINY, tmp_path / "r", on_epoch_end=[hook], progress=False)
    assert all(row["fid"] is None and row["kid"] is None for row in run.history)
    lines = (run.path / "frechet-small.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,frechet_distance")
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert not (run.path / "checkpoints/best.safetensors").exists()


# --- with the Inception weights

@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 3, 75, 41), (1, 3, 400, 301), (1, 3, 299, 299)])
def test_the_resize_is_torch_fidelitys_bit_for_bit(shape):
    theirs = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    x = torch.randint(0, 256, shape, generator=seeded(1)).float()
    expected = theirs.interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
    assert torch.equal(X.resize_like_tensorflow(x), expected)


def test_folding_batch_norm_changes_nothing():
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d
    torch.manual_seed(0)
    block = BasicConv2d(3, 5, kernel_size=3).eval().requires_grad_(False)
    for p in (block.bn.weight, block.bn.bias, block.bn.running_mean): p.uniform_(-1, 1)
    block.bn.running_var.uniform_(.5, 2)
    x = torch.randn(2, 3, 9, 9)
    expected = block(x)
    X.fold_batch_norm(block)
    assert torch.allclose(block(x), expected, atol=1e-5) and isinstance(block.bn, torch.nn.Identity)


@needs_weights
def test_features_equal_torch_fidelity():
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for images in (toy_birds(6, seed=3).images, noise(2, 75)):
        with torch.no_grad(): expected = net(images)[0]
        assert torch.allclose(X.extract_features(images, progress=False), expected, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def oracle_features():
    """5000 train and 5000 test images of CIFAR-10, by the oracle's indices."""
    parts = []
    for split in ("train", "test"):
        images = load_images("cifar10", split).images
        pick = np.random.RandomState(2020).choice(len(images), 5000, replace=False)
        parts.append(X.extract_features(images[pick]))
    return tuple(parts)


@slow
@needs_weights
@needs_cifar10
def test_the_oracle(oracle_features):
    train, test = oracle_features
    measured = frechet_from_stats(stats(train), stats(test))
    kernel, values = kid(test, train), prdc(test, train, 3)
    print(f"FID {measured:.6f}  KID {kernel:.4e}  {values}")
    assert measured == pytest.approx(10.3233, abs=.01)
    assert kernel == pytest.approx(-2.557e-5, abs=1e-6)
    assert values["precision"] == pytest.approx(.679, abs=.003) and values["recall"] == pytest.approx(.699, abs=.003)


@slow
@needs_weights
@needs_cifar10
def test_all_training_against_all_test_images():
    result = evaluate(load_images("cifar10", "test"), "cifar10")
    print(result)
    assert result.protocol["n_real"] == 50_000 and result.protocol["n_fake"] == 10_000
    assert result.values["fid"] == pytest.approx(3.15, abs=.02)


def five_sets(n):
    cifar = load_images("cifar10", "test", limit=n)
    x = cifar.images.float() / 127.5 - 1
    cats = load_images("cifar10", "train", limit=12 * n)
    G = ready_run("cifar10-dcgan").generator()
    return {"noise": noise(n, 32), "blurred": to_uint8(degrade(x, seeded(1), blur=1.)),
            "one class": cats.images[cats.labels == 3][:n],
            "a GAN's": generate(G, torch.randn(n, 100, generator=seeded(2))),
            "grey": cifar.images.float().mean(1, keepdim=True).round().to(torch.uint8)}


@slow
@needs_weights
@needs_cifar10
@pytest.mark.parametrize("name", ["noise", "blurred", "one class", "a GAN's", "grey"])
def test_five_image_sets_equal_torch_fidelity(name):
    import torch_fidelity
    n, real = 300, load_images("cifar10", "train", limit=300).images
    fake = five_sets(n)[name]
    class Set(torch.utils.data.Dataset):
        def __init__(self, images): self.images = images.expand(-1, 3, -1, -1)
        def __len__(self): return len(self.images)
        def __getitem__(self, i): return self.images[i]
    theirs = torch_fidelity.calculate_metrics(
        input1=Set(fake), input2=Set(real), fid=True, kid=True, kid_subsets=10, kid_subset_size=200,
        cuda=False, batch_size=50, verbose=False, cache=False, datasets_downloaded=True)
    a, b = X.extract_features(fake, progress=False), X.extract_features(real, progress=False)
    with pytest.warns(UserWarning, match="300 images in 2048"): ours = frechet_from_stats(stats(b), stats(a))
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    rng = np.random.RandomState(2020)
    subsets = [kid(a[rng.choice(n, 200, replace=False)], b[rng.choice(n, 200, replace=False)]) for _ in range(10)]
    assert np.mean(subsets) == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    print(f"{name}: ours {ours:.6f}, torch-fidelity {theirs['frechet_inception_distance']:.6f}")


# --- images handed over, the session, seeds

@pytest.mark.parametrize("shape", (1, 7, 16, 37, 100, (100, 1, 1), (3, 5)))
def test_a_latent_depends_on_seed_and_place_alone(shape):
    many = draw_latents(70, shape, 7)
    for n in range(1, 70): assert torch.equal(draw_latents(n, shape, 7), many[:n])
    sizes = shape if isinstance(shape, tuple) else (shape,)
    assert torch.equal(draw_latents(64, shape, 7), torch.randn(64, *sizes, generator=seeded(7)))  # numbers measured


def test_a_generated_image_depends_on_seed_and_place_alone():
    G = ready_run("toy-birds-dcgan").generator()
    many = torch.cat(list(S.from_generator(G, 40, 3).batches(32)))
    for n in (2, 3, 5, 17, 39):
        some = torch.cat(list(S.from_generator(G, n, 3).batches(32)))
        assert (some.int() - many[:n].int()).abs().max() <= 1


@contextlib.contextmanager
def left_behind(name):
    """What an earlier cell may have done to the session."""
    with contextlib.ExitStack() as stack:
        if name == "dtype":
            stack.callback(torch.set_default_dtype, torch.float32)
            torch.set_default_dtype(torch.float64)
        if name == "device": stack.enter_context(torch.device("meta"))
        if name == "autocast": stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        if name == "grad": stack.enter_context(torch.set_grad_enabled(False))
        if name == "inference": stack.enter_context(torch.inference_mode())
        if name == "precision":
            stack.callback(torch.set_float32_matmul_precision, "highest")
            torch.set_float32_matmul_precision("medium")
        yield


LEFT = ("dtype", "device", "autocast", "grad", "inference", "precision")


def state():
    return (torch.get_default_dtype(), torch.get_default_device(), torch.is_autocast_enabled("cpu"),
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_float32_matmul_precision(),
            torch.get_num_threads())


@pytest.mark.parametrize("name", LEFT)
def test_what_earlier_cells_left_changes_no_number(name, tmp_path):
    run, real = ready_run("toy-birds-dcgan"), toy_birds(80, 1)
    def numbers(place):
        G, D = run.generator(), run.discriminator()
        values = evaluate(G, real, 80, extractor="small", progress=False).values
        heat = cams(D, real.images[:4], "features.7")
        images = generate(G, draw_latents(4, 100, 1))
        trained = train(TINY, tmp_path / place, images=toy_images, progress=False).history[-1]
        trained.pop("seconds")
        return values, trained, heat.gradcam, heat.score, images
    toy_images = toy_birds(64)
    wanted = numbers("plain")
    with left_behind(name):
        before = state()
        found = numbers(name)
        assert state() == before
    assert found[:2] == wanted[:2]
    for a, b in zip(found[2:], wanted[2:], strict=True): assert torch.equal(a, b)


def tensors_of(found):
    """What a call returned, as a list of tensors and numbers."""
    if isinstance(found, torch.nn.Module): found = list(found.state_dict().values())
    if isinstance(found, ImageSet): found = [found.images, found.labels, found.masks, found.boxes]
    if isinstance(found, dict): found = list(found.values())
    return [x for part in found for x in tensors_of(part)] if isinstance(found, list | tuple) else [found]


X8, Y8, BIRDS = torch.randn(60, 8, generator=seeded(1)), torch.randn(50, 8, generator=seeded(2)), toy_birds(40, 3)
MEAN, COV = X8.double().mean(0).numpy(), X8.double().T.cov().numpy()
CALLS = {
    "toy_birds": lambda place, pictures: toy_birds(20, 5),
    "load_images": lambda place, pictures: load_images("toy-birds", limit=20),
    "a folder": lambda place, pictures: load_images(pictures, size=16, root=place, progress=False),
    "at_size": lambda place, pictures: at_size(ImageSet(BIRDS.images, name="b"), 16, place),
    "degrade": lambda place, pictures: degrade(to_float(BIRDS.images), seeded(1), blur=1.),
    "species_of": lambda place, pictures: species_of(BIRDS.images),
    "dcgan": lambda place, pictures: build_model("dcgan", base_channels=4),
    "sagan": lambda place, pictures: build_model("sagan", base_channels=8),
    "a generator's weights": lambda place, pictures: ready_run("toy-birds-dcgan").generator(),
    "kid": lambda place, pictures: [kid(X8, Y8), kid(X8, Y8, 2, 20), fid.kid_error(X8, Y8)],
    "prdc": lambda place, pictures: prdc(X8, Y8),
    "frechet_distance": lambda place, pictures: fid.frechet_distance(MEAN, COV, MEAN + 1, COV),
    "statistics": lambda place, pictures: [
        stats(X8).cov, frechet_from_stats(stats(X8), stats(Y8)), fid.extrapolate(stats(X8), Y8)],
    "extract_features": lambda place, pictures: small(BIRDS.images),
    "train_small": lambda place, pictures: X.train_small(3, 200),
    "real_stats": lambda place, pictures: E.real_stats(BIRDS, "small", root=place, progress=False).cov,
    "evaluate a folder": lambda place, pictures: evaluate(pictures, BIRDS, extractor="small", progress=False).values,
    "a toy game": lambda place, pictures: list(play(ToyConfig(steps=20), 10, 50)),
    "grids": lambda place, pictures: cut_grid(image_grid(as_bytes(to_float(BIRDS.images).numpy())), 40, 32),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_gives_the_same_whatever_was_left_behind(call, tmp_path, root):
    pictures = write(tmp_path / "pictures", noise(30, 20))
    wanted = tensors_of(CALLS[call](tmp_path / "plain", pictures))
    for name in LEFT:
        with left_behind(name):
            before, found = state(), tensors_of(CALLS[call](tmp_path / name, pictures))
            assert state() == before, name
            for a, b in zip(found, wanted, strict=True):
                if isinstance(b, torch.Tensor): assert torch.equal(a, b) and a.dtype == b.dtype, name
                else: assert a == b, name


def test_statistics_begun_in_inference_mode_go_on_outside():
    with torch.inference_mode(): s = FeatureStats().update(X8)
    assert s.update(Y8).n == 110


def test_generators_in_float64_and_wrapped_give_the_same_numbers():
    G, real = ready_run("toy-birds-dcgan").generator(), toy_birds(80, 1)
    def values(G): return evaluate(G, real, 80, extractor="small", progress=False).values
    wanted = values(G)
    assert values(torch.nn.DataParallel(G)) == pytest.approx(wanted)
    assert values(ready_run("toy-birds-dcgan").generator().double()) == pytest.approx(wanted, rel=1e-2)


def test_a_list_of_single_images_is_taken():
    x = toy_birds(50, 1).images
    for given in (list(x), list(to_float(x)), [(image, 0) for image in x]):
        source = S.source_of(given, 40)
        batches = list(source.batches(16))
        assert [len(b) for b in batches] == [16, 16, 8] and torch.equal(torch.cat(batches), x[:40])


def test_colour_beside_a_grey_generator_is_made_grey():
    x = toy_birds(80, 1).images
    grey = torch.stack([torch.from_numpy(np.array(Image.fromarray(i.permute(1, 2, 0).numpy()).convert("L")))
                        for i in x])[:, None]
    assert torch.equal(X.to_channels(x, 1), grey) and torch.equal(X.to_channels(grey, 3), grey.expand(-1, 3, -1, -1))
    assert torch.equal(X.to_channels(grey.expand(-1, 3, -1, -1), 1), grey)
    G, _ = build_model("dcgan", 0, 32, 1, 16, 4)
    def values(real): return evaluate(G, real, 80, extractor="small", progress=False).values
    for real in (x, ImageSet(x, name="mine"), [x], list(x)): assert values(real) == pytest.approx(values(grey))


@pytest.mark.parametrize("images, words", (
    (torch.rand(8, 3, 32, 32), "to_uint8"), (torch.rand(8, 3, 32, 32) * 255, "to_uint8"),
    (torch.full((8, 3, 32, 32), torch.nan), "to_uint8"), (torch.rand(8, 3, 32, 32) > .5, "to_uint8"),
    (torch.rand(8, 3, 32, 32).numpy(), "to_uint8"),
    (torch.zeros(8, 2, 32, 32, dtype=torch.uint8), "C 1 or 3"),
    (torch.zeros(0, 3, 32, 32, dtype=torch.uint8), "is empty")))
def test_images_of_another_range_are_never_trained_on(images, words):
    with pytest.raises(InputError, match=words): as_image_set(images)
    with pytest.raises(InputError): as_image_set(ImageSet(images, name="mine"))


@pytest.mark.parametrize("images", (
    BIRDS.images, BIRDS.images.numpy(), BIRDS.images[:1, :1], to_float(BIRDS.images).double().numpy(),
    to_float(BIRDS.images).bfloat16(), to_float(BIRDS.images).requires_grad_(), BIRDS.images[0],
    BIRDS.images.numpy()[:, :, ::-1], torch.tensor([-1., 1.]).expand(1, 3, 4, 2)))
def test_images_are_shown_as_they_are(images):
    shown = show_images(images, padding=0, cols=1).axes[0].images[0].get_array()
    pixels = torch.as_tensor(np.array(images) if isinstance(images, np.ndarray) else images).detach()
    if pixels.is_floating_point(): pixels = ((pixels.float() + 1) * 127.5).round()
    c, h, w = pixels.shape[-3:]
    wanted = pixels.reshape(-1, c, h, w).permute(0, 2, 3, 1).reshape(-1, w, c).squeeze(-1).numpy()
    assert np.array_equal(np.asarray(shown).astype(int), wanted.astype(int))


@pytest.mark.parametrize("change, message", (
    (lambda x: x / 2 + .5, r"look like \[0,1\]"), (lambda x: 127.5 * x + 127.5, r"between 0 and 255"),
    (lambda x: 1.1 * x, r"\[-1,1\] is expected"), (lambda x: x * torch.nan, "NaN"), (lambda x: x * torch.inf, "inf"),
    (lambda x: x > 0, "type bool"), (lambda x: (100 * x).long(), "type int64"), (lambda x: x[:0], "empty"),
    (lambda x: x[0, 0], r"\(32, 32\)"), (lambda x: x.permute(0, 2, 3, 1), "channels come second"),
    (lambda x: torch.cat([x, x[:, :1]], 1), r"\(40, 4, 32, 32\)"), (list, "a list of Tensor"),
    (lambda x: x + 1j, "complex64")))
def test_what_is_no_image_is_not_shown(change, message):
    x = change(to_float(BIRDS.images))
    for given in (x, x.numpy()) if isinstance(x, torch.Tensor) else [x]:
        with pytest.raises(InputError, match=message) as e: show_images(given)
        assert "\n" not in str(e.value)


def test_what_lies_a_little_outside_is_clamped_and_nothing_else():
    assert to_uint8(torch.tensor([-7., -1., 0., 1., 7.])).tolist() == [0, 0, 128, 255, 255]
    for x in (torch.tensor([0., 255.]), torch.tensor([0., torch.nan]), torch.tensor([3, 255], dtype=torch.uint8)):
        with pytest.raises(InputError): to_uint8(x)


def test_a_grid_has_to_hold_what_is_cut_out_of_it():
    grid = image_grid(BIRDS.images[:6], 4)
    assert torch.equal(cut_grid(grid, 6, 32, 4), BIRDS.images[:6])
    for wrong in ((9, 32, 4), (6, 33, 4), (6, 32, 8), (10**12, 32, 4)):
        with pytest.raises(InputError, match="do not fit"): cut_grid(grid, *wrong)
    with pytest.raises(InputError, match="too large"): image_grid(BIRDS.images, 10**12)
    with pytest.raises(InputError, match="too large"): show_images(BIRDS.images, scale=1e6)


def test_what_is_known_of_images_has_to_fit_them():
    for wrong in (dict(labels=torch.arange(39)), dict(boxes=torch.rand(40, 3)), dict(masks=torch.ones(40, 31, 32) > 0),
                  dict(labels=torch.rand(40))):
        with pytest.raises(InputError): ImageSet(BIRDS.images, **wrong)
    for index in (torch.tensor([40]), torch.ones(39) > 0, torch.tensor([.5]), torch.tensor([], dtype=torch.int64)):
        with pytest.raises(InputError): BIRDS.subset(index)


def test_floats_that_were_cast_to_black_are_said():
    with pytest.warns(UserWarning, match="black"): as_image_set(torch.rand(8, 3, 32, 32).round().to(torch.uint8))


@pytest.mark.parametrize("grad", (False, True))
def test_the_session_is_fresh_within_and_as_before_afterwards(grad):
    plain = state()
    for names in (("dtype", "device", "autocast", "inference", "precision"), ("grad",)):
        with contextlib.ExitStack() as stack:
            for name in names: stack.enter_context(left_behind(name))
            before = state()
            with undisturbed(grad): assert state() == (*plain[:3], grad, *plain[4:])
            with pytest.raises(KeyError), undisturbed(grad): raise KeyError
            assert state() == before != plain
    assert state() == plain
