"""Toy distributions, players, the game and its counting: shapes, seeds, brute force, bad input, does it learn."""
import dataclasses
import math

import pytest
import torch

from gan_course import toy
from gan_course.core import InputError, seeded
from gan_course.losses import LOSSES, get_loss
from gan_course.steps import d_step, g_step
from gan_course.toy import (
    SIGMA,
    TOYS,
    ToyConfig,
    ToyDiscriminator,
    ToyGenerator,
    coverage,
    play,
    pulls,
    sample_toy,
    snapshot,
    toy_modes,
)

QUICK = dict(steps=6, batch_size=16, hidden=8)


def last(config, **options):
    *_, end = play(config, **options)
    return end


# --- data

@pytest.mark.parametrize("name", TOYS)
def test_points_depend_on_the_generator_alone(name):
    torch.manual_seed(1)
    x = sample_toy(name, 301, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(x, sample_toy(name, 301, seeded(5))) and not torch.equal(x, sample_toy(name, 301, seeded(6)))
    assert x.shape == (301, 2) and x.dtype == torch.float32 and x.abs().max() < 1.3


@pytest.mark.parametrize("name, k", [("ring", 8), ("grid", 25)])
def test_modes_are_equally_frequent_and_as_wide_as_said(name, k):
    x, modes = sample_toy(name, 40_000, seeded(0)), toy_modes(name)
    distance, nearest = torch.cdist(x, modes).min(1)
    assert modes.shape == (k, 2)
    assert (torch.bincount(nearest, minlength=k) / 40_000 - 1 / k).abs().max() < 5 * math.sqrt(1 / k / 40_000)
    assert abs(distance.square().mean() / 2 - SIGMA**2) < .05 * SIGMA**2


def test_curves_lie_where_they_should_and_are_evenly_filled():
    spiral = sample_toy("spiral", 20_000, seeded(0))
    along = torch.linspace(0, 3 * math.pi, 3000)
    curve = torch.stack([along.cos(), along.sin()], 1) * along[:, None] / (3 * math.pi)
    distance, at = torch.cdist(spiral, curve).min(1)
    assert distance.mean() < SIGMA
    length = (curve[1:] - curve[:-1]).norm(dim=1).cumsum(0)
    # the outer half of the curve holds half the points
    outer = (at > torch.searchsorted(length, length[-1] / 2)).float().mean()
    assert abs(outer - .5) < .06
    moons = sample_toy("moons", 20_000, seeded(0)) * 1.5
    upper, lower = ((moons - torch.tensor([side * -.5, side * -.25])).norm(dim=1) for side in (1, -1))
    off = torch.minimum((upper - 1).abs(), (lower - 1).abs())
    assert off.mean() < 1.5 * SIGMA
    assert abs((moons[:, 1] > 0).float().mean() - .5) < .02


# --- players

def test_players_have_the_course_s_conventions():
    G, D = ToyGenerator(5, 16, seeded(0)), ToyDiscriminator(16, seeded(0))
    z = torch.randn(7, G.latent_dim, generator=seeded(1))
    assert G(z).shape == (7, 2) and D(G(z)).shape == (7,) and D(G(z[:1])).shape == (1,)
    assert torch.equal(G(z, labels=None), G(z)) and torch.equal(D(G(z), labels=None), D(G(z)))


def test_initial_weights_have_the_variance_that_was_said():
    net = toy.mlp(50, 2, 400, seeded(3))
    for layer in net[::2]:
        assert abs(3 * layer.weight.var() * layer.in_features - 1) < .12 and not layer.bias.any()


# --- counting

def brute_force(x, modes, sigma, k, least):
    counts, good = [0] * len(modes), 0
    for point in x.tolist():
        distances = [math.dist(point, m) for m in modes.tolist()]
        if min(distances) <= k * sigma:
            good += 1
            counts[distances.index(min(distances))] += 1
    return sum(c >= max(1, least * len(x) / len(modes)) for c in counts), good / len(x)


@pytest.mark.parametrize("name", ["ring", "grid"])
@pytest.mark.parametrize("least", [0, .1, .5])
def test_coverage_equals_brute_force(name, least):
    modes, g = toy_modes(name), seeded(7)
    for sigma, wide in ((.05, .05), (.05, .4), (.2, .1), (.4, .5)):  # the wide ones reach into each other's circles
        some = modes[torch.randint(len(modes) // 2, (400,), generator=g)]  # only the first half
        x = torch.cat([some + wide * torch.randn(400, 2, generator=g), sample_toy(name, 30, g)])
        covered, good = coverage(x, modes, sigma, least=least)
        assert (covered, pytest.approx(good, abs=1e-6)) == brute_force(x, modes, sigma, 3., least)


def test_a_mode_needs_a_tenth_of_its_share():
    modes = toy_modes("ring")
    def with_strays(n): return torch.cat([modes[:1].expand(800 - n, 2), modes[1:2].expand(n, 2)])
    assert [coverage(with_strays(n), modes)[0] for n in (0, 9, 10)] == [1, 1, 2]
    assert [coverage(with_strays(n), modes, least=0)[0] for n in (0, 1)] == [1, 2]


def test_what_is_not_finite_is_not_good():
    x = torch.full((10, 2), float("nan"))
    x[:2] = toy_modes("ring")[0]
    assert coverage(x, toy_modes("ring")) == (1, pytest.approx(.2))


# --- pulls and snapshots

@pytest.mark.parametrize("name", LOSSES)
def test_pulls_are_the_slope_of_the_loss(name):
    loss, g = get_loss(name), seeded(4)
    D = ToyDiscriminator(8, g)
    x, real = torch.randn(5, 2, generator=g), torch.randn(5, 2, generator=g)
    found = pulls(D, x, loss, real)
    for i in range(5):
        for j in range(2):
            step = torch.zeros(5, 2)
            step[i, j] = 1e-2
            slope = (loss.g(D(x + step), D(real)) - loss.g(D(x - step), D(real))) / 2e-2
            assert found[i, j] == pytest.approx(-5 * slope.item(), abs=2e-2)
    assert all(p.grad is None for p in D.parameters())


def test_a_snapshot_says_what_d_says():
    G = ToyGenerator(2, 8, seeded(0))
    s = snapshot(ToyConfig(), G, lambda x: 3 * x[:, 0] + x[:, 1], 7, n=200, side=9)
    at = torch.linspace(-1.6, 1.6, 9)
    assert torch.allclose(s["d_grid"], 3 * at[None, :] + at[:, None], atol=1e-5)  # columns are x, rows are y
    assert s["step"] == 7 and len(s["samples"]) == len(s["real"]) == 200
    logit = lambda x: 3 * x[:, 0] + x[:, 1]
    assert s["d_acc_real"] == pytest.approx((logit(s["real"]) > 0).float().mean().item())
    assert s["d_acc_fake"] == pytest.approx((logit(s["samples"]) <= 0).float().mean().item())
    assert s["g_loss"] == pytest.approx(torch.nn.functional.softplus(-logit(s["samples"])).mean().item(), rel=1e-5)
    assert s["p_real"] == pytest.approx(logit(s["real"]).sigmoid().mean().item(), rel=1e-5)
    assert s["p_fake"] == pytest.approx(logit(s["samples"]).sigmoid().mean().item(), rel=1e-5)
    assert (s["modes"], s["good"]) == coverage(s["samples"], toy_modes("ring"))


def test_data_without_modes_have_no_coverage():
    s = last(ToyConfig(data="moons", **QUICK))
    assert s["modes"] is None and s["good"] is None


def test_pictures_have_a_panel_a_snapshot_and_a_row_a_game():
    game = list(play(ToyConfig(**QUICK), every=2))
    fig = toy.plot_game(game, names=["a", "b", "c", "d"])  # two rows of three, and the colour bar
    assert len(fig.axes) == 7 and [ax.get_title()[0] for ax in fig.axes[:4]] == list("abcd")
    assert len(toy.plot_chart(game, game, names=["A", "B"]).axes) == 6


# --- the game

def test_the_same_seed_gives_the_same_game_and_another_another(monkeypatch):
    batches = []
    def spy(name, n, generator):
        x = sample_toy(name, n, generator)
        if n == QUICK["batch_size"]: batches.append(x)  # a snapshot asks for more
        return x
    monkeypatch.setattr(toy, "sample_toy", spy)
    (a0, a), (b0, b), (c0, c) = (play(ToyConfig(seed=seed, **QUICK), every=6) for seed in (3, 3, 4))
    assert torch.equal(a["samples"], b["samples"]) and a["g_loss"] == b["g_loss"]
    assert not torch.equal(a["samples"], c["samples"])
    assert not torch.equal(a0["d_grid"], c0["d_grid"])  # other weights
    assert torch.equal(batches[0], batches[6]) and not torch.equal(batches[0], batches[12])  # other data


def test_looking_changes_nothing():
    often, once, few = (last(ToyConfig(**QUICK), every=every, n=n) for every, n in ((1, 100), (6, 100), (3, 7)))
    assert torch.equal(often["samples"], once["samples"]) and torch.equal(once["d_grid"], few["d_grid"])
    assert [s["step"] for s in play(ToyConfig(**QUICK), every=3)] == [0, 3, 6]


def test_the_steps_are_those_of_lesson_06():
    c = ToyConfig(**QUICK, d_steps=2, g_steps=3)
    weights, draw = seeded(c.seed, 0), seeded(c.seed, 1)
    G, D = ToyGenerator(c.latent_dim, c.hidden, weights), ToyDiscriminator(c.hidden, weights)
    opt_g = torch.optim.Adam(G.parameters(), c.lr_g, (.5, .999))
    opt_d = torch.optim.Adam(D.parameters(), c.lr_d, (.5, .999))
    def noise(): return torch.randn(c.batch_size, c.latent_dim, generator=draw)
    for _ in range(c.steps):
        for _ in range(c.d_steps):
            real = sample_toy(c.data, c.batch_size, draw)
            d_step(D, opt_d, real, G(noise()), get_loss("bce"))
        for _ in range(c.g_steps): g_step(D, opt_g, G(noise()), get_loss("bce"))
    ours, theirs = last(c, every=6), snapshot(c, G, D, 6)
    torch.testing.assert_close(ours["samples"], theirs["samples"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours["d_grid"], theirs["d_grid"], rtol=1e-4, atol=1e-5)


def test_each_player_moves_in_its_own_step_only():
    first, *_, end = play(ToyConfig(**QUICK | dict(lr_g=0.)), every=6)
    assert torch.equal(first["samples"], end["samples"]) and not torch.equal(first["d_grid"], end["d_grid"])
    first, *_, end = play(ToyConfig(**QUICK | dict(lr_d=0.)), every=6)
    assert torch.equal(first["d_grid"], end["d_grid"]) and not torch.equal(first["samples"], end["samples"])


def test_r1_flattens_d():
    def spread(r1):
        return last(ToyConfig(**QUICK | dict(lr_g=0., lr_d=1e-2, steps=60, r1=r1)), every=60)["d_grid"].std()
    steep, flat = spread(0.), spread(10.)
    assert flat < steep / 2


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_plays(name):
    s = last(ToyConfig(loss=name, **QUICK), every=6)
    assert all(math.isfinite(s[k]) for k in ("d_loss_real", "d_loss_fake", "g_loss", "pull"))


def test_the_gradient_penalty_is_asked_for_by_its_loss(monkeypatch):
    seen = []
    monkeypatch.setattr(toy, "gradient_penalty", lambda D, real, fake, draw: seen.append(len(real)) or torch.zeros(()))
    last(ToyConfig(loss="wgan-gp", **QUICK))
    assert seen == [16] * 6


@pytest.mark.parametrize("make", [
    lambda: toy_modes("rings"),
    lambda: sample_toy("circle", 5, seeded(0)),
    lambda: sample_toy("ring", 0, seeded(0)),
    lambda: sample_toy("spiral", -1, seeded(0)),
    lambda: coverage(torch.zeros(3, 2), toy_modes("moons")),
    lambda: ToyConfig(data="rings"),
    lambda: ToyConfig(loss="bcee"),
    lambda: ToyConfig(steps=0),
    lambda: ToyConfig(lr_d=float("nan")),
    lambda: ToyConfig(beta1=1.),
    lambda: dataclasses.replace(ToyConfig(), batch_size=0),
    lambda: next(play(ToyConfig(), every=0)),
])
def test_bad_input_is_named(make):
    with pytest.raises(InputError): make()


# --- does it learn?

@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_ring_is_covered_by_the_healthy_game_and_not_by_the_failing_one(seed):
    assert last(ToyConfig(steps=600, seed=seed), every=600)["modes"] >= 7
    assert last(dataclasses.replace(toy.COLLAPSE, seed=seed), every=500)["modes"] <= 3


def test_each_cure_is_one_change():
    for name, (sick, cure) in toy.CLINIC.items():
        assert len(cure) == 1 or set(cure) == {"lr_g", "lr_d"}, name
        assert ToyConfig(**sick) != ToyConfig(**sick | cure)
