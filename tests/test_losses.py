"Losses and gradient penalties against independent formulas; what teaches stands in nbs/01_game.ipynb."
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan_course.core import InputError, seeded
from gan_course.losses import LOSSES, gradient_penalty, r1_penalty, r2_penalty

each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
devices = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def logits(*seed, n=64):
    "Real and fake logits of both signs, some beyond every margin."
    return 3 * torch.randn(2, n, generator=seeded(*seed))


# PyTorch's own losses, which share no code with ours: (D on real and fake) and (G on fake)
def entropy(logit, label): return F.binary_cross_entropy_with_logits(logit, torch.full_like(logit, label))
def square(logit, label): return F.mse_loss(logit, torch.full_like(logit, label)) / 2
def margin(logit): return F.hinge_embedding_loss(logit, -torch.ones_like(logit))  # mean max(0, 1 - logit)
def ranking(better, worse): return F.soft_margin_loss(better - worse, torch.ones_like(better))

ORACLES = {
    "bce": (lambda r, f: (entropy(r, 1.), entropy(f, 0.)), lambda f, r: entropy(f, 1.)),
    "minimax": (lambda r, f: (entropy(r, 1.), entropy(f, 0.)), lambda f, r: -entropy(f, 0.)),
    "lsgan": (lambda r, f: (square(r, 1.), square(f, 0.)), lambda f, r: square(f, 1.)),
    "hinge": (lambda r, f: (margin(r), margin(-f)), lambda f, r: -f.sum() / f.numel()),
    "wgan-gp": (lambda r, f: (-r.sum() / r.numel(), f.sum() / f.numel()), lambda f, r: -f.sum() / f.numel()),
    "rpgan": (lambda r, f: (ranking(r, f) / 2, ranking(r, f) / 2), lambda f, r: ranking(f, r)),
}


def test_the_names_and_what_a_step_must_know():
    assert {name: (loss.name, loss.paired, loss.gp, loss.threshold) for name, loss in LOSSES.items()} == {
        name: (name, name == "rpgan", 10 if name == "wgan-gp" else 0, .5 if name == "lsgan" else 0) for name in ORACLES}
    with pytest.raises(dataclasses.FrozenInstanceError): LOSSES["bce"].gp = 1


@each_loss
def test_values_and_gradients_equal_those_of_pytorch_in_float64(loss):
    d, g = ORACLES[loss.name]
    for seed in range(3):
        real, fake = (x.requires_grad_() for x in logits(seed))
        real64, fake64 = (x.detach().double().requires_grad_() for x in (real, fake))
        for ours, theirs in [(loss.d(real, fake), d(real64, fake64)), ((loss.g(fake, real),), (g(fake64, real64),))]:
            for a, b in zip(ours, theirs, strict=True): torch.testing.assert_close(a.double(), b, atol=1e-5, rtol=1e-5)
            mine = torch.autograd.grad(sum(ours), (real, fake), allow_unused=True, materialize_grads=True)
            oracle = torch.autograd.grad(sum(theirs), (real64, fake64), allow_unused=True, materialize_grads=True)
            for a, b in zip(mine, oracle, strict=True): torch.testing.assert_close(a.double(), b, atol=1e-6, rtol=1e-4)


@each_loss
def test_batch_size_does_not_scale_the_loss(loss):
    real, fake = logits(1)
    twice_real, twice_fake = real.repeat(2), fake.repeat(2)
    torch.testing.assert_close(loss.d(twice_real, twice_fake), loss.d(real, fake))
    torch.testing.assert_close(loss.g(twice_fake, twice_real), loss.g(fake, real))


@each_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_losses_are_float32_scalars_computed_in_float32(loss, dtype):
    real, fake = (x.to(dtype) for x in logits(2))
    ours = (*loss.d(real, fake), loss.g(fake, real))
    assert all(x.dtype == torch.float32 and x.shape == () for x in ours)
    real, fake = real.float(), fake.float()
    torch.testing.assert_close(ours, (*loss.d(real, fake), loss.g(fake, real)), rtol=0, atol=0)


@each_loss
def test_each_player_is_paid_for_the_right_direction(loss):
    low, high = torch.full((4,), .2), torch.full((4,), .8)
    assert sum(loss.d(high, low)) < sum(loss.d(low, low)) < sum(loss.d(low, high))
    assert loss.g(high, low) < loss.g(low, low)


@each_loss
def test_extreme_logits_give_finite_values_and_gradients(loss):
    extremes = torch.tensor([-100., 100.])
    for real, fake in [(extremes, extremes), (extremes, -extremes)]:
        real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
        values = torch.stack([*loss.d(real, fake), loss.g(fake, real)])
        gradients = torch.autograd.grad(values.sum(), (real, fake))
        assert all(x.isfinite().all() for x in (values, *gradients))


@each_loss
def test_only_a_paired_loss_asks_for_real_logits_in_the_generator_step(loss):
    fake = torch.zeros(4)
    if loss.paired:
        for real in (None, torch.zeros(3), torch.zeros(4, 1)):
            with pytest.raises(InputError, match="as many real as fake"): loss.g(fake, real)
    else: assert torch.equal(loss.g(fake, None), loss.g(fake, fake + 1))


def steep(x): return x.reshape(len(x), -1).square().sum(1) / 2  # its gradient at x is x


@pytest.mark.parametrize("shape", [(16,), (16, 5), (16, 3, 4, 4)])
@pytest.mark.parametrize("device", devices)
def test_penalties_of_a_bowl_at_any_rank(shape, device):
    real, fake = torch.randn(2, *shape, generator=seeded(4))
    epsilon = torch.rand(16, generator=seeded(5)).reshape(16, *[1] * (len(shape) - 1))
    between = fake + epsilon * (real - fake)
    slopes = between.reshape(16, -1).square().sum(1).sqrt()
    expected = [((slopes - 1)**2).mean(), real.square().sum() / 16, fake.square().sum() / 16]
    on = real.to(device), fake.to(device)
    ours = [gradient_penalty(steep, *on, seeded(5)), r1_penalty(steep, on[0]), r2_penalty(steep, on[1])]
    torch.testing.assert_close(torch.stack(ours).cpu(), torch.stack(expected), atol=1e-4, rtol=1e-4)
    assert all(p.dtype == torch.float32 and p.shape == () for p in ours)


def penalties(D, real, fake):
    return {"gp": gradient_penalty(D, real, fake, seeded(6)), "r1": r1_penalty(D, real), "r2": r2_penalty(D, fake)}


@pytest.mark.parametrize("name, slope", [
    ("gp", lambda a: 2 * (5 * a - 1) * 5),
    ("r1", lambda a: 50 * a),
    ("r2", lambda a: 50 * a),
])
def test_penalties_can_be_trained_on(name, slope):
    a = torch.tensor(2., requires_grad=True)  # D(x) = a·(3,4)·x: the slope is 5a
    real, fake = torch.randn(2, 8, 2, generator=seeded(7))
    penalty = penalties(lambda x: a * (x @ torch.tensor([3., 4.])), real, fake)[name]
    assert abs(torch.autograd.grad(penalty, a)[0].item() - slope(2)) < 1e-3


def test_penalties_touch_nothing_but_the_parameters_of_D():
    D, G = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)), nn.Linear(2, 3)
    real, fake = torch.randn(5, 3, generator=seeded(8)), G(torch.randn(5, 2, generator=seeded(9)))
    ours = penalties(D, real, fake)
    assert all(p.grad is None for p in D.parameters())  # nothing is accumulated before backward
    sum(ours.values()).backward()
    assert D[0].weight.grad.abs().sum() > 0 and G.weight.grad is None
    assert not real.requires_grad and real.grad is None


def test_a_flat_critic_gives_no_nan():
    weight = torch.zeros(3, requires_grad=True)
    ours = penalties(lambda x: x @ weight, torch.ones(4, 3), -torch.ones(4, 3))
    assert [p.item() for p in ours.values()] == [1, 0, 0]
    assert torch.autograd.grad(sum(ours.values()), weight)[0].isfinite().all()


def test_epsilon_comes_from_the_generator_alone():
    real, fake = torch.randn(2, 8, 3, generator=seeded(10))
    drawn = [gradient_penalty(steep, real, fake, seeded(seed)).item() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_penalties_under_autocast_with_fakes_in_bfloat16():
    D = nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(.2), nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    real, fake = torch.randn(2, 6, 3, 8, 8, generator=seeded(11))
    exact = penalties(D, real, fake)
    with torch.autocast("cpu", torch.bfloat16): mixed = penalties(D, real, fake.bfloat16())
    sum(mixed.values()).backward()
    for name in exact:
        assert mixed[name].dtype == torch.float32
        torch.testing.assert_close(mixed[name], exact[name], rtol=.05, atol=.01)
    assert all(p.grad.isfinite().all() for p in D.parameters() if p.grad is not None)


def test_penalties_of_a_network_in_bfloat16():
    D = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)).bfloat16()  # takes no other type
    real, fake = torch.randn(2, 6, 3, generator=seeded(12)).bfloat16()
    assert all(p.dtype == torch.float32 and p.isfinite() for p in penalties(D, real, fake).values())


@pytest.mark.parametrize("real, fake, message", [
    (torch.zeros(4, 3), torch.zeros(1, 3), "equal shapes"),  # would broadcast in silence
    (torch.zeros(4, 3, dtype=torch.uint8), torch.zeros(4, 3, dtype=torch.uint8), "to_float"),
])
def test_penalties_refuse_what_they_cannot_use(real, fake, message):
    with pytest.raises(InputError, match=message): gradient_penalty(steep, real, fake, seeded(0))
    if real.dtype == torch.uint8:
        with pytest.raises(InputError, match=message): r1_penalty(steep, real)
