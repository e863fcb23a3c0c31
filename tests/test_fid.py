"""Fréchet distance, KID, precision and recall against closed forms, torch-fidelity, prdc and scipy; bad input."""
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gan_course import fid
from gan_course.core import InputError, seeded
from gan_course.fid import FeatureStats, frechet_distance, frechet_from_stats, kid, prdc


def cloud(n, d=24, seed=0, shift=0.):
    """Correlated, skewed, positive features, a little like those of Inception."""
    g = seeded(seed, d)
    return ((torch.randn(n, d, generator=g) @ torch.randn(d, d, generator=seeded(99, d)) * .3).abs() + shift).float()


def stats(x, **kw): return FeatureStats(**kw).update(x)


def moments(x): return np.mean(np.asarray(x, np.float64), 0), np.cov(np.asarray(x, np.float64), rowvar=False)


# --- statistics

@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_streaming_equals_numpy_whatever_the_batch(batch):
    x = cloud(500) + 1e5  # far from 0: E[x²] - E[x]² would lose digits
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
    lam = 10**torch.linspace(-6, 1, 100).double()
    Q = torch.linalg.qr(torch.randn(100, 100, generator=seeded(1), dtype=torch.float64)).Q
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
    """Two samples of a Gaussian with eigenvalues λ: (2 trΣ + Σ_ij (λ_i λ_j + δ_ij λ_i²)/(λ_i + λ_j)) / N."""
    lam, n = torch.linspace(.2, 3, 12).double(), 400
    pairs = torch.outer(lam, lam) / (lam[:, None] + lam)
    expected = (2 * lam.sum() + pairs.sum() + (lam / 2).sum()).item() / n
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
    for pair in ((x,), (x, y)):
        assert fid.kernel_mean(*pair, chunk=7) == pytest.approx(fid.kernel_mean(*pair), rel=1e-12)


def test_the_error_of_kid_is_that_of_leaving_blocks_out():
    sides = cloud(43), cloud(31, seed=1, shift=.3)  # their blocks are of unlike sizes
    real, fake = (x[torch.randperm(len(x), generator=seeded(0))] for x in sides)
    def without(x, i): return torch.cat([part for j, part in enumerate(x.tensor_split(10)) if j != i])
    moved = [[kid(without(real, i), fake) for i in range(10)], [kid(real, without(fake, i)) for i in range(10)]]
    expected = math.sqrt(9 * sum(np.var(values) for values in moved))
    assert fid.kid_error(*sides) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(InputError, match="at least 20"): fid.kid_error(cloud(43), cloud(19))


def test_kid_equals_torch_fidelity_on_its_subsets():
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    # of the size of Inception's numbers, since they compute in float32
    real, fake = cloud(900, 64) * .4, cloud(700, 64, seed=1, shift=.02) * .4
    theirs = metric.kid_features_to_metric(
        fake, real, kid_subsets=10, kid_subset_size=200, rng_seed=2020, verbose=False,
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
    theirs = metric.prc_features_to_metric(
        fake, real, prc_neighborhood=3, prc_batch_size=10000, save_cpu_ram=False, verbose=False)
    ours = prdc(real, fake, 3)
    assert (ours["precision"], ours["recall"]) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def test_a_tight_cluster_inside_the_data_is_precise_and_recalls_little():
    real = torch.randn(1000, 2, generator=seeded(0))
    values = prdc(real, .05 * torch.randn(1000, 2, generator=seeded(1)))
    assert values["precision"] > .8 and values["recall"] < .3 and values["coverage"] < .3


# --- bad input

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
    for attempt in (lambda: kid(good[:1], good), lambda: frechet_from_stats(stats(good), FeatureStats()),
                    lambda: stats(good[:1]).cov):
        with pytest.raises(InputError, match="at least 2"): attempt()


@pytest.mark.parametrize("cov", (
    -np.eye(3), np.diag([1, 1, -.1]), [[1, 2, 0], [2, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
def test_a_matrix_with_negative_eigenvalues_is_no_covariance(cov):
    mu, good, cov = np.zeros(3), np.diag([1., 0, 2]), np.array(cov, float)
    for a, b, name in ((good, cov, "cov2"), (cov, good, "cov1"), (np.zeros((3, 3)), cov, "cov2")):
        with pytest.raises(InputError, match=f"{name} has negative eigenvalues"): frechet_distance(mu, a, mu, b)
    rounded = np.diag([1., 0, 2]) - 1e-9 * np.eye(3)  # below 0 by rounding
    assert frechet_distance(mu, rounded, mu, rounded) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("change, message", (
    (lambda x: 1e200 * x, "huge"), (lambda x: x * np.inf, "infinit"), (lambda x: x.astype(int), "float"),
    (lambda x: x + 1j, "plain real numbers"), (lambda x: x > 0, "float"), (lambda x: x[0], "shape"),
    (lambda x: x[:0], "empty"), (lambda x: x.tolist(), "a tensor or an array"),
    (lambda x: None, "a tensor or an array")))
def test_what_cannot_be_features_gives_no_number(change, message):
    good = cloud(30).double().numpy()
    bad = change(good)
    for attempt in (lambda: kid(good, bad), lambda: prdc(bad, good), lambda: fid.kid_error(good, bad, 3)):
        with pytest.raises(InputError, match=message) as e: attempt()
        assert "\n" not in str(e.value)
    if message not in ("shape", "empty"):
        mu, cov = good[0], np.cov(good.T)
        with pytest.raises(InputError, match=message): frechet_distance(mu, cov, change(mu), cov)


def test_one_feature_is_enough_and_one_image_is_not():
    x, y = cloud(30)[:, :1], cloud(30, seed=1)[:, :1]
    assert math.isfinite(kid(x, y)) and 0 <= prdc(x, y)["recall"] <= 1 and frechet_from_stats(stats(x), stats(y)) >= 0
    for attempt in (lambda: kid(x[:1], y), lambda: fid.kernel_mean(x[:1]), lambda: fid.low_rank_root_trace(x[:1], y)):
        with pytest.raises(InputError, match="at least 2"): attempt()
    with pytest.raises(InputError, match="no 30 neighbours"): fid.radii(x, 30)


def test_half_precision_does_not_overflow_in_distances():
    x, y = 200 * cloud(60, 16), 200 * cloud(50, 16, seed=1)  # squares beyond 65504
    assert prdc(x.half(), y.half()) == prdc(x.half().float(), y.half().float())


def test_statistics_of_a_file_are_whole_and_those_asked_for(tmp_path):
    file, tensors = tmp_path / "s.safetensors", dict(mean=torch.zeros(3).double(), scatter=torch.eye(3).double())
    def written(about, **changed): save_file(tensors | changed, file, fid._KIND | about)
    right = dict(n="5", keep="0", extractor="small")
    written(right)  # as earlier versions wrote it, without a checksum
    assert FeatureStats.load(file).n == 5
    for about, changed in ((dict(n="5"), {}), (right | dict(n="many"), {}), (right | dict(n="-1"), {}),
                           (right, dict(mean=torch.zeros(4).double())), (right, dict(features=torch.zeros(9, 3))),
                           (right, dict(scatter=torch.full((3, 3), torch.nan).double())),
                           (right | dict(checksum="1"), {})):
        written(about, **changed)
        with pytest.raises(InputError, match="damaged"): FeatureStats.load(file)
    stats(cloud(30)).save(file, of="birds")
    assert FeatureStats.load(file, of="birds").n == FeatureStats.load(file).n == 30
    with pytest.raises(InputError, match="other statistics"): FeatureStats.load(file, of="cats")
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="cannot be read"): FeatureStats.load(place)
    with pytest.raises(InputError, match="cannot be written"): stats(cloud(30)).save(tmp_path / "none" / "s")


def test_statistics_of_another_extractor_are_refused():
    a, b = stats(cloud(30), extractor="inception"), stats(cloud(30), extractor="small")
    for attempt in (lambda: frechet_from_stats(a, b), lambda: a.merge(b)):
        with pytest.raises(InputError, match="'small'"): attempt()


def test_held_features_are_the_callers_no_more():
    whole, s, buffer = cloud(12, 24), FeatureStats(keep=12), np.empty((4, 24), np.float32)
    for part in whole.split(4):
        buffer[:] = part
        mean = s.update(buffer).mean
    assert torch.equal(s.features, whole)
    before = mean.clone()
    s.update(cloud(5, 24, seed=8))
    assert torch.equal(mean, before)


@pytest.mark.parametrize("x", (torch.zeros(30, 8), torch.randn(1, 2048, generator=seeded(0)).repeat(30, 1),
                               torch.rand(40, 2048, generator=seeded(1)).repeat(5, 1)))
def test_ties_are_inside_for_precision_and_recall_and_outside_for_density_and_coverage(x):
    for fake, chunk in ((x, 7), (x.flip(0), 7), (x[:-1], 7), (x[:len(x) * 3 // 4], len(x) - 1)):
        values = prdc(x, fake, 3, chunk=chunk)
        assert values == dict(precision=1, recall=1, density=0, coverage=0)


def test_on_the_rim_counts_for_precision_and_recall():
    real, fake = torch.tensor([[0.], [1.], [2.]]), torch.tensor([[3.], [4.], [5.]])
    values = prdc(real, fake, 1)  # radius 1 everywhere: 3 lies on the rim of 2, and 2 on that of 3
    assert values == dict(precision=pytest.approx(1 / 3), recall=pytest.approx(1 / 3), density=0, coverage=0)
