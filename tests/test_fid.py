"""FID and its relatives against closed forms, torch-fidelity, prdc and scipy; bad input; the cache; the hook.

Tests that need the Inception weights run where torch's hub folder holds them; those that take minutes run with GAN_COURSE_SLOW=1.
"""
import dataclasses
import json
import math
import os
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gan_course import fid
from gan_course import train as T
from gan_course.core import InputError, seeded
from gan_course.data import ImageSet, data_root, load_images, spoil, toy_birds
from gan_course.dcgan import build_model
from gan_course.fid import FeatureStats, evaluate, frechet_distance, frechet_from_stats, kid, prdc

WEIGHTS = Path(torch.hub.get_dir()) / "checkpoints" / Path(fid.INCEPTION_URL).name
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"no Inception weights: put {fid.INCEPTION_URL} at {WEIGHTS}")
slow = pytest.mark.skipif(os.environ.get("GAN_COURSE_SLOW") != "1", reason="takes minutes: set GAN_COURSE_SLOW=1")
needs_cifar10 = pytest.mark.skipif(not any((data_root() / f"cifar-10-batches-{kind}").is_dir() for kind in ("bin", "py")),
                                   reason=f"no CIFAR-10 in {data_root()}: gan_course.data.load_images('cifar10') downloads it")


def cloud(n, d=24, seed=0, shift=0.):
    """Correlated, skewed, positive features, a little like those of Inception."""
    g = seeded(seed, d)
    return ((torch.randn(n, d, generator=g) @ torch.randn(d, d, generator=seeded(99, d)) * .3).abs() + shift).float()


def stats(x, **kw): return FeatureStats(**kw).update(x)


def moments(x): return np.mean(np.asarray(x, np.float64), 0), np.cov(np.asarray(x, np.float64), rowvar=False)


# --- statistics

@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_streaming_equals_numpy_whatever_the_batch(batch):
    x = cloud(500) + 100  # far from 0: E[x²] - E[x]² would lose digits
    s = FeatureStats()
    for part in x.split(batch): s.update(part)
    mu, cov = moments(x)
    assert s.n == 500 and s.mean.dtype == s.cov.dtype == torch.float64
    np.testing.assert_allclose(s.mean, mu, rtol=1e-12)
    np.testing.assert_allclose(s.cov, cov, rtol=1e-9, atol=1e-11)


def test_order_and_merging_change_nothing():
    x = cloud(333)
    whole, merged = stats(x), stats(x[:100]).merge(stats(x[100:130])).merge(stats(x[130:])).merge(FeatureStats())
    turned = stats(x.flip(0))
    for other in (merged, turned):
        assert other.n == 333
        np.testing.assert_allclose(other.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(other.cov, whole.cov, rtol=1e-9, atol=1e-12)


def test_features_are_held_while_there_are_fewer_than_dimensions():
    s, x = FeatureStats(), cloud(60)
    for i in range(0, 24, 8): s.update(x[i:i + 8])
    assert torch.equal(s.features, x[:24]) and s.holds_all
    s.update(x[24:25])
    assert s.features is None and not s.holds_all
    s.update(x[25:])
    assert s.features is None  # none come back


def test_keep_holds_the_first_ones_however_the_batches_fall():
    x = cloud(300)
    for sizes in (7, 50, 300):
        s = FeatureStats(keep=100)
        for part in x.split(sizes): s.update(part)
        assert torch.equal(s.features, x[:100]) and s.n == 300
    whole = stats(x[:90], keep=100)
    assert torch.equal(whole.merge(stats(x[90:], keep=100)).features, x[:100])


def test_save_and_load(tmp_path):
    for keep in (0, 50):
        s = stats(cloud(100), extractor="small", keep=keep)
        s.save(tmp_path / "s.safetensors")
        r = FeatureStats.load(tmp_path / "s.safetensors")
        assert (r.n, r.extractor, r.keep, r.dim) == (100, "small", keep, 24)
        assert torch.equal(r.mean, s.mean) and torch.equal(r.cov, s.cov)
        assert r.features is None if keep == 0 else torch.equal(r.features, s.features)
    (tmp_path / "cut").write_bytes((tmp_path / "s.safetensors").read_bytes()[:300])
    with pytest.raises(InputError, match="cut cannot be read"): FeatureStats.load(tmp_path / "cut")
    with pytest.raises(InputError, match="no feature statistics"):
        FeatureStats.load(Path(fid.__file__).parent / "judges" / "small-extractor.safetensors")


# --- the distance

def test_distance_to_itself_is_zero_and_it_is_symmetric():
    a, b = stats(cloud(400)), stats(cloud(300, seed=1, shift=.2))
    assert frechet_from_stats(a, a) < 1e-6
    assert frechet_from_stats(a, b) > .1
    assert frechet_from_stats(a, b) == pytest.approx(frechet_from_stats(b, a), rel=1e-9)


def test_distance_to_itself_is_zero_at_2048_dimensions():
    x = torch.randn(2200, 2048, generator=seeded(3))
    s = stats(x)
    assert 0 <= frechet_from_stats(s, s) < 1e-3


def test_a_shift_adds_its_square():
    mu, cov = moments(cloud(400))
    v = np.linspace(-1, 2, 24)
    assert frechet_distance(mu, cov, mu + v, cov) == pytest.approx(v @ v, rel=1e-9)


def test_diagonal_covariances_have_a_closed_form():
    g = np.random.default_rng(0)
    a, b, m, n = g.uniform(0, 3, (4, 30))
    a[0] = b[1] = 0  # singular ones too
    expected = ((m - n)**2).sum() + ((np.sqrt(a) - np.sqrt(b))**2).sum()
    assert frechet_distance(m, np.diag(a), n, np.diag(b)) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(*map(torch.tensor, (m, np.diag(a), n, np.diag(b)))) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("d", [2, 24, 150])
def test_covariances_that_do_not_commute_agree_with_scipy(d):
    linalg = pytest.importorskip("scipy.linalg")
    (m, a), (n, b) = moments(cloud(400, d)), moments(cloud(400, d, seed=1, shift=.3) * torch.linspace(.5, 2, d))
    assert np.abs(a @ b - b @ a).max() > 1e-3  # they do not commute
    expected = ((m - n)**2).sum() + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert frechet_distance(m, a, n, b) == pytest.approx(expected, rel=1e-7)


def test_fid_equals_torch_fidelity_on_random_features():
    metric = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = cloud(700, 64), cloud(500, 64, seed=1, shift=.1)
    expected = metric.fid_statistics_to_metric(*map(metric.fid_features_to_statistics, (x, y)), False)
    assert frechet_from_stats(stats(x), stats(y)) == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)


def test_float64_matters():
    """Eigenvalues over seven decades and a small difference, as Inception has them: float32 loses it."""
    lam, Q = 10**torch.linspace(-6, 1, 100).double(), torch.linalg.qr(torch.randn(100, 100, generator=seeded(1), dtype=torch.float64)).Q
    cov, mu = (Q * lam) @ Q.T, torch.zeros(100)
    assert frechet_distance(mu, cov, mu, 1.01 * cov) == pytest.approx((1.01**.5 - 1)**2 * lam.sum().item(), rel=1e-4)


def test_fewer_images_than_dimensions():
    x, y = cloud(20, 50), cloud(30, 50, seed=1)
    with pytest.warns(UserWarning, match="20 images in 50 dimensions"): low = frechet_from_stats(stats(x), stats(y))
    full = frechet_distance(*moments(x), *moments(y))
    assert np.isfinite(low) and isinstance(low, float) and low == pytest.approx(full, rel=1e-6)
    many = stats(cloud(200, 50, seed=2))
    with pytest.warns(UserWarning, match="30 images"): mixed = frechet_from_stats(stats(y), many)
    assert mixed == pytest.approx(frechet_distance(*moments(y), many.mean, many.cov), rel=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet_from_stats(many, stats(cloud(51, 50)))


def test_the_low_rank_distance_is_taken_where_it_can(monkeypatch):
    monkeypatch.setattr(fid, "frechet_distance", lambda *a: pytest.fail("the d×d distance was computed"))
    with pytest.warns(UserWarning): frechet_from_stats(stats(cloud(20, 50)), stats(cloud(30, 50, seed=1)))


def test_bias_falls_as_the_formula_says():
    """Two samples of one Gaussian with eigenvalues λ: (2 trΣ + Σ_ij (λ_i λ_j + δ_ij λ_i²)/(λ_i + λ_j)) / N."""
    lam, n = torch.linspace(.2, 3, 12).double(), 400
    expected = (2 * lam.sum() + (torch.outer(lam, lam) / (lam[:, None] + lam)).sum() + (lam / 2).sum()).item() / n
    g = seeded(4)
    def sample(): return stats(torch.randn(n, 12, generator=g, dtype=torch.float64) * lam.sqrt())
    measured = np.mean([frechet_from_stats(sample(), sample()) for _ in range(3000)])
    assert measured == pytest.approx(expected, rel=.01)


def test_extrapolation_takes_the_bias_away():
    fake = torch.randn(1000, 16, generator=seeded(1))
    fake = fake - fake.mean(0) + .1  # a squared distance of 0.16 between the means; the rest is bias
    real = stats(torch.randn(200_000, 16, generator=seeded(0)))
    at_infinity, sizes, values = fid.extrapolate(real, fake)
    assert sizes[0] < sizes[-1] == 1000 and values[0] > values[-1]
    assert abs(at_infinity - .16) < .02 < values[-1] - .16


# --- KID

def test_kid_is_what_the_formula_says():
    x, y = cloud(9).double().numpy(), cloud(7, seed=1, shift=.3).double().numpy()
    def k(a, b): return (a @ b / 24 + 1)**3
    expected = (np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
                + np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
                - 2 * np.mean([k(a, b) for a in x for b in y]))
    assert kid(x, y) == pytest.approx(expected, rel=1e-9)


def test_kid_does_not_depend_on_the_chunk():
    x, y = cloud(50), cloud(41, seed=1)
    for pair in ((x,), (x, y)): assert fid.kernel_mean(*pair, chunk=7) == pytest.approx(fid.kernel_mean(*pair), rel=1e-12)


def test_the_error_of_kid_is_that_of_leaving_blocks_out():
    real, fake = (x[torch.randperm(len(x), generator=seeded(0))] for x in (cloud(43), cloud(31, seed=1, shift=.3)))  # blocks of unlike sizes
    def without(x, i): return torch.cat([part for j, part in enumerate(x.tensor_split(10)) if j != i])
    moved = [[kid(without(real, i), fake) for i in range(10)], [kid(real, without(fake, i)) for i in range(10)]]
    assert fid.kid_error(cloud(43), cloud(31, seed=1, shift=.3)) == pytest.approx(math.sqrt(9 * sum(np.var(values) for values in moved)), rel=1e-9)
    with pytest.raises(InputError, match="at least 20"): fid.kid_error(cloud(43), cloud(19))


def test_kid_equals_torch_fidelity_on_its_subsets():
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    real, fake = cloud(900, 64) * .4, cloud(700, 64, seed=1, shift=.02) * .4  # of the size of Inception's: they compute in float32
    theirs = metric.kid_features_to_metric(fake, real, kid_subsets=10, kid_subset_size=200, rng_seed=2020, verbose=False,
                                           kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1)
    rng = np.random.RandomState(2020)
    ours = []
    for _ in range(10):
        f = fake[rng.choice(700, 200, replace=False)]
        ours.append(kid(real[rng.choice(900, 200, replace=False)], f))
    assert np.mean(ours) == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)


def test_kid_is_unbiased_and_may_be_negative():
    x = cloud(6000)
    values = [kid(x[i:i + 100], x[i + 100:i + 200]) for i in range(0, 6000, 200)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_kid_over_subsets_is_near_that_of_all_and_depends_on_the_generator_alone():
    x, y = cloud(2000), cloud(2000, seed=1, shift=.1)
    some = kid(x, y, subsets=20, subset_size=500, generator=seeded(5))
    assert some == kid(x, y, subsets=20, subset_size=500, generator=seeded(5)) == pytest.approx(kid(x, y), rel=.2)
    with pytest.raises(InputError, match="subsets of 3000"): kid(x, y, subsets=2, subset_size=3000)


# --- precision, recall, density, coverage

@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_prdc_equals_the_package(k, dtype):
    package = pytest.importorskip("prdc")
    real, fake = cloud(700, 16).to(dtype), cloud(450, 16, seed=1, shift=.3).to(dtype)
    expected = package.compute_prdc(real.numpy(), fake.numpy(), k)
    ours = prdc(real, fake, k, chunk=97)
    assert ours.keys() == expected.keys()
    for name in ours: assert ours[name] == pytest.approx(expected[name], abs=1e-6), name
    assert len(set(ours.values())) == 4  # no two can be mixed up unseen


def test_precision_and_recall_equal_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_prc")
    real, fake = cloud(400, 16), cloud(300, 16, seed=1, shift=.3)
    theirs = metric.prc_features_to_metric(fake, real, prc_neighborhood=3, prc_batch_size=10000, save_cpu_ram=False, verbose=False)
    ours = prdc(real, fake, 3)
    assert (ours["precision"], ours["recall"]) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def test_a_tight_cluster_inside_the_data_is_precise_and_recalls_little():
    real = torch.randn(1000, 2, generator=seeded(0))
    values = prdc(real, .05 * torch.randn(1000, 2, generator=seeded(1)))
    assert values["precision"] > .8 and values["recall"] < .3 and values["coverage"] < .3


# --- images in

TINY = T.TrainConfig(limit=200, base_channels=4, batch_size=32, epochs=3, samples=4, precision="float32")


class Stub:
    """A quick extractor that calls itself Inception."""
    name, dim, version = "inception", 12, "stub"

    def __call__(self, images):
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        x = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 2)
        return x.flatten(1)


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(fid, "_extractor", lambda name, device: Stub() if name == "inception" else fid.Small())


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def noise(n, size=16, seed=0): return torch.randint(0, 256, (n, 3, size, size), generator=seeded(seed), dtype=torch.uint8)


def write(folder, images):
    folder.mkdir(parents=True)
    for i, x in enumerate(images): Image.fromarray(x.permute(1, 2, 0).squeeze(-1).numpy()).save(folder / f"{i:04d}.png")
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
    for attempt in (lambda: fid.extract_features(images, "small", progress=False), lambda: evaluate(images, noise(30), progress=False)):
        with pytest.raises(InputError, match=message) as e: attempt()
        assert "\n" not in str(e.value)


def test_one_nan_among_many_pixels_is_found():
    x = torch.rand(4, 3, 8, 8) * 2 - 1
    x[2, 1, 3, 3] = float("nan")
    with pytest.raises(InputError): fid.check_images(x)


def test_wrong_features_give_no_number():
    good, bad = cloud(30), cloud(30).clone()
    bad[3, 4] = float("nan")
    for attempt in (lambda: stats(bad), lambda: kid(good, bad), lambda: prdc(bad, good)):
        with pytest.raises(InputError, match="NaN"): attempt()
    mu, cov = moments(good)
    with pytest.raises(InputError, match="mu2 has shape"): frechet_distance(mu, cov, mu[:5], cov)
    with pytest.raises(InputError, match="NaN"): frechet_distance(mu, cov * np.inf, mu, cov)
    with pytest.raises(InputError, match="after some of 24"): stats(good).update(cloud(3, 5))
    with pytest.raises(InputError, match="24 and of 5"): frechet_from_stats(stats(good), stats(cloud(30, 5)))
    with pytest.raises(InputError, match="cov2 is not symmetric"): frechet_distance(mu, cov, mu, np.triu(cov))
    with pytest.raises(InputError, match="more than k"): prdc(good[:5], good, 5)
    for attempt in (lambda: kid(good[:1], good), lambda: frechet_from_stats(stats(good), FeatureStats()), lambda: stats(good[:1]).cov):
        with pytest.raises(InputError, match="at least 2"): attempt()


def test_statistics_of_another_extractor_are_refused():
    a, b = stats(cloud(30), extractor="inception"), stats(cloud(30), extractor="small")
    for attempt in (lambda: frechet_from_stats(a, b), lambda: a.merge(b)):
        with pytest.raises(InputError, match="'small'"): attempt()


def test_wrong_sources_give_no_number(tmp_path, stub, root):
    real = noise(30)
    (tmp_path / "empty").mkdir()
    broken = write(tmp_path / "broken", noise(3))
    (broken / "0001.png").write_bytes(b"no image")
    for fake, message in ((tmp_path / "none", "there is no folder"), (tmp_path / "empty", "no images in .*empty"), (broken, "0001.png cannot be read"),
                          (noise(1), "the tensor has 1 images"), (42, "a int was given"), ("toy-brids", "toy-birds")):
        with pytest.raises(InputError, match=message) as e: evaluate(fake, real, progress=False)
        assert "\n" not in str(e.value)
    with pytest.raises(InputError, match="nothing to compare with"): evaluate(noise(5), progress=False)
    with pytest.raises(InputError, match="extractor 'vgg'"): evaluate(noise(9), real, extractor="vgg", progress=False)
    G = build_model("dcgan", base_channels=4)[0]
    with pytest.raises(InputError, match="n_fake is 1"): evaluate(G, real, n_fake=1, progress=False)
    for n in (1, 0, -1):
        for how in (dict(n_real=n), dict(n_fake=n)):
            with pytest.raises(InputError, match=f"{n} images were asked for: ask for 2 or more"): evaluate(noise(30), real, progress=False, **how)
    with pytest.raises(InputError, match="keep is 0"): evaluate(noise(30), real, keep=0, progress=False)


def test_few_images_have_a_distance_and_no_neighbours(stub, root):
    with pytest.warns(UserWarning, match="left out: 4 images have no 5 neighbours"): result = evaluate(noise(4, seed=1), noise(30), progress=False)
    assert list(result.values) == ["fid", "kid"] and "n_fake" in result.protocol and "4 images" in repr(result)
    assert "precision" in evaluate(noise(4, seed=1), noise(30), k=3, progress=False).values


def test_without_weights_and_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    import urllib.error

    import torch_fidelity.feature_extractor_inceptionv3 as theirs
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    def offline(*a, **k): raise urllib.error.URLError("no network")
    monkeypatch.setattr(theirs, "load_state_dict_from_url", offline)
    with pytest.raises(InputError) as e: fid.load_inception()
    message = str(e.value)
    assert str(tmp_path / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth") in message and fid.INCEPTION_URL in message
    assert "--extractor small" in message and "no FID" in message and "\n" not in message


def test_inception_sees_pixels_as_the_original_did(monkeypatch):
    monkeypatch.setattr(fid, "load_inception", lambda: torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Identity()))
    assert torch.equal(fid.Inception()(torch.full((1, 3, 8, 8), 64, dtype=torch.uint8)), torch.full((1, 3), -.5))  # (64 - 128) / 128


def test_the_small_extractor_knows_toy_birds():
    birds = toy_birds(1000, seed=77)
    with torch.no_grad(): species = fid.get_extractor("small").net(birds.images / 127.5 - 1)[0].argmax(1)
    assert (species == birds.labels).float().mean() > .9


def test_held_features_are_the_callers_no_more():
    whole, s, buffer = cloud(12, 24), FeatureStats(keep=12), np.empty((4, 24), np.float32)
    for part in whole.split(4):
        buffer[:] = part
        mean = s.update(buffer).mean
    assert torch.equal(s.features, whole)
    before = mean.clone()
    s.update(cloud(5, 24, seed=8))
    assert torch.equal(mean, before)


def test_grey_is_repeated():
    grey = noise(4)[:, :1]
    assert fid.check_images(grey).shape == (4, 3, 16, 16)
    assert torch.equal(fid.extract_features(grey, "small", progress=False), fid.extract_features(grey.repeat(1, 3, 1, 1), "small", progress=False))


def test_extraction_does_not_depend_on_the_batch_and_takes_floats():
    x = toy_birds(20, seed=5).images
    whole = fid.extract_features(x, "small", batch_size=20, progress=False)
    assert torch.allclose(whole, fid.extract_features(x, "small", batch_size=7, progress=False), atol=1e-5)
    assert torch.allclose(whole, fid.extract_features(x.float() / 127.5 - 1, "small", progress=False), atol=1e-5)
    assert fid.extract_features(x[:0], "small", progress=False).shape == (0, 64)


# --- evaluate

def test_evaluate_says_its_whole_protocol(tmp_path, stub, root):
    real = ImageSet(noise(80), name="noise", split="test")
    result = evaluate(noise(60, seed=1), real, progress=False)
    assert list(result.values) == ["fid", "kid", "precision", "recall", "density", "coverage"]
    text = repr(result)
    for part in ("FID", "60 images", "80 images", "noise", "test split", "inception", "k = 5", "16×16"): assert part in text
    result.to_json(tmp_path / "r.json")
    stored = json.loads((tmp_path / "r.json").read_text())
    assert stored["values"] == result.values and stored["protocol"]["n_real"] == 80 and stored["protocol"]["n_fake"] == 60
    a, b = (fid.extract_features(x, progress=False) for x in (noise(60, seed=1), real.images))
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
    s = fid.gather(fid.from_folder(folder), batch_size=4, progress=False)
    expected = torch.cat([Stub()(p[None]) for p in pictures])
    np.testing.assert_allclose(s.mean, moments(expected)[0], rtol=1e-6)
    assert s.n == 20
    with pytest.warns(UserWarning, match="that difference is part of the number"):
        result = evaluate(folder, write(tmp_path / "other", noise(30)), progress=False)
    assert result.protocol["n_fake"] == 20 and result.protocol["real"] == "other" and result.protocol["size_fake"] == "20×20 to 33×33"
    assert str(folder) in repr(result) and str(tmp_path / "other") in repr(result)


def test_a_generator_a_run_and_its_path_give_the_same(tmp_path, stub, root):
    run = T.train(TINY, tmp_path / "tiny", progress=False)
    real = load_images("toy-birds", limit=100)
    by_run, by_path = (evaluate(x, real, n_fake=50, progress=False) for x in (run, str(run.path)))
    by_G = evaluate(run.generator(), real, n_fake=50, batch_size=7, progress=False)
    assert by_run.values == by_path.values == pytest.approx(by_G.values, rel=1e-4)
    assert by_run.protocol["weights"] == "last" and by_run.protocol["seed"] == 0 and by_run.protocol["fake"] == "tiny"
    assert by_run.protocol["epoch"] == TINY.epochs and f"weights last, epoch {TINY.epochs}, seed 0" in repr(by_run)
    assert evaluate(run, real, n_fake=50, seed=1, progress=False).values != by_run.values


def test_images_are_taken_at_random(root):
    by_class = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()
    taken = torch.cat(list(fid.from_images(ImageSet(by_class, name=""), 50).batches(16)))[:, 0, 0, 0]
    assert len(set(taken.tolist())) == 50 and taken.min() < 30 and taken.max() > 170


# --- the cache

def test_statistics_are_computed_once(root, monkeypatch):
    counted = []
    class Counting(Stub):
        def __call__(self, images): counted.append(len(images)); return super().__call__(images)
    def cost(images, extractor=None, **kw):
        counted.clear()
        s = fid.real_stats(images, extractor or Counting(), progress=False, **kw)
        return sum(counted), s
    real = ImageSet(noise(40), name="noise")
    first, again = cost(real), cost(real)
    assert first[0] == 40 and again[0] == 0 and torch.equal(first[1].cov, again[1].cov) and torch.equal(first[1].features, again[1].features)
    other = noise(40)
    other[39, 2, 15, 15] ^= 1  # one bit of one pixel
    newer = Counting()
    newer.version = "2"
    for images, extractor, kw in ((ImageSet(other, name="noise"), None, {}), (ImageSet(noise(40), name="noise", split="test"), None, {}),
                                  (real, None, dict(n=30)), (real, newer, {}), (real, None, dict(keep=20))):
        assert cost(images, extractor, **kw)[0] > 0
    for file in root.glob("cache/stats-*"): file.write_bytes(b"cut off")
    assert cost(real)[0] == 40  # a spoiled file is made anew
    assert cost(ImageSet(noise(40), name=""))[0] == cost(ImageSet(noise(40), name=""))[0] == 40  # nameless images are not kept


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
    one, other = (evaluate(noise(10, seed=5), tmp_path / name / "real", progress=False).values["fid"] for name in "ab")
    assert one != other


def test_a_folder_is_cut_as_the_run_saw_it(tmp_path, root):
    photographs = write(tmp_path / "photographs", noise(80, 48))
    run = T.train(dataclasses.replace(TINY, data=str(photographs), size=32, limit=None, epochs=1), tmp_path / "r", progress=False)
    by_itself, by_name = (evaluate(run, real, n_fake=70, extractor="small", progress=False) for real in (None, photographs))
    assert by_itself.values == by_name.values and by_name.protocol["size"] == "32×32"


# --- while training

def test_the_hook_fills_the_history_and_disturbs_nothing(tmp_path, stub, root):
    birds = load_images("toy-birds", limit=200)
    plain = T.train(TINY, tmp_path / "plain", progress=False)
    run = T.train(TINY, tmp_path / "measured", on_epoch_end=[fid.fid_hook(birds, every=2, n_fake=40, progress=False)], progress=False)
    assert [row["fid"] is not None for row in run.history] == [False, True, True]  # every second, and the last
    assert [row["kid"] is not None for row in run.history] == [False, True, True]
    assert [r["g_loss"] for r in run.history] == [r["g_loss"] for r in plain.history]
    assert (run.path / "checkpoints/best.safetensors").exists()
    assert [set(r) for r in fid.history_table(run)] == [{"epoch", "fid", "d_acc_real", "d_acc_real_test", "d_acc_fake"}] * 2


def test_the_hook_measures_the_average_with_the_same_latents(stub, root):
    birds = load_images("toy-birds", limit=100)
    training = SimpleNamespace(epoch=1, config=TINY, G=build_model("dcgan", 0, base_channels=4)[0], ema=build_model("dcgan", 1, base_channels=4)[0].train())
    hook = fid.fid_hook(birds, every=1, n_fake=40, progress=False)
    row = hook(training, {})
    expected = evaluate(training.ema, birds, n_fake=40, progress=False).values
    assert row == hook(training, {}) == {k: pytest.approx(expected[k], rel=1e-6) for k in ("fid", "kid")}
    assert training.ema.training  # the mode found


def test_the_hook_leaves_fid_empty_for_another_extractor(tmp_path, root):
    hook = fid.fid_hook(load_images("toy-birds", limit=200), every=1, n_fake=80, extractor="small", progress=False)
    run = T.train(TINY, tmp_path / "r", on_epoch_end=[hook], progress=False)
    assert all(row["fid"] is None and row["kid"] is None for row in run.history)
    lines = (run.path / "frechet-small.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,frechet_distance") and [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert not (run.path / "checkpoints/best.safetensors").exists()


# --- with the Inception weights

@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 3, 75, 41), (1, 3, 400, 301), (1, 3, 299, 299)])
def test_the_resize_is_torch_fidelitys_bit_for_bit(shape):
    theirs = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    x = torch.randint(0, 256, shape, generator=seeded(1)).float()
    assert torch.equal(fid.resize_like_tensorflow(x), theirs(x, size=(299, 299), align_corners=False))


def test_folding_batch_norm_changes_nothing():
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d
    torch.manual_seed(0)
    block = BasicConv2d(3, 5, kernel_size=3).eval().requires_grad_(False)
    for p in (block.bn.weight, block.bn.bias, block.bn.running_mean): p.uniform_(-1, 1)
    block.bn.running_var.uniform_(.5, 2)
    x = torch.randn(2, 3, 9, 9)
    expected = block(x)
    fid.fold_batch_norm(block)
    assert torch.allclose(block(x), expected, atol=1e-5) and isinstance(block.bn, torch.nn.Identity)


@needs_weights
def test_features_equal_torch_fidelity():
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for images in (toy_birds(6, seed=3).images, noise(2, 75)):
        with torch.no_grad(): expected = net(images)[0]
        assert torch.allclose(fid.extract_features(images, progress=False), expected, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def oracle_features():
    """5000 CIFAR-10 train and 5000 test images, the indices of the oracle; GAN_COURSE_FEATURES keeps them between runs."""
    kept = os.environ.get("GAN_COURSE_FEATURES")
    if kept and Path(kept).is_file(): return tuple(torch.load(kept, weights_only=True))
    parts = []
    for split in ("train", "test"):
        images = load_images("cifar10", split).images
        parts.append(fid.extract_features(images[np.random.RandomState(2020).choice(len(images), 5000, replace=False)]))
    if kept: torch.save(parts, kept)
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
    assert result.protocol["n_real"] == 50_000 and result.protocol["n_fake"] == 10_000 and result.values["fid"] == pytest.approx(3.15, abs=.02)


def five_sets(n):
    cifar = load_images("cifar10", "test", limit=n)
    x = cifar.images.float() / 127.5 - 1
    cats = load_images("cifar10", "train", limit=12 * n)
    G = T.ready_run("cifar10-dcgan").generator()
    return {"noise": noise(n, 32), "blurred": fid.to_uint8(spoil(x, seeded(1), blur=1.)), "one class": cats.images[cats.labels == 3][:n],
            "a GAN's": T.generate(G, torch.randn(n, 100, generator=seeded(2))),
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
    theirs = torch_fidelity.calculate_metrics(input1=Set(fake), input2=Set(real), fid=True, kid=True, kid_subsets=10, kid_subset_size=200,
                                              cuda=False, batch_size=50, verbose=False, cache=False, datasets_downloaded=True)
    a, b = fid.extract_features(fake, progress=False), fid.extract_features(real, progress=False)
    with pytest.warns(UserWarning, match="300 images in 2048"): ours = frechet_from_stats(stats(b), stats(a))
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    rng = np.random.RandomState(2020)
    subsets = [kid(a[rng.choice(n, 200, replace=False)], b[rng.choice(n, 200, replace=False)]) for _ in range(10)]
    assert np.mean(subsets) == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    print(f"{name}: ours {ours:.6f}, torch-fidelity {theirs['frechet_inception_distance']:.6f}")
