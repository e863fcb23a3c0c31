"""What the steps of a training refuse, networks without weights, and figures pixel by pixel."""
import warnings

import pytest
import torch
from torch import nn

from gan_course import steps
from gan_course.core import InputError, seeded
from gan_course.dcgan import Discriminator, Generator
from gan_course.losses import get_loss


@pytest.fixture
def players():
    return Generator(32, 1, 4, 2), Discriminator(32, 1, 2)


def test_a_g_step_needs_the_graph_of_its_images(players):
    G, D = players
    with torch.no_grad(): fake = G(torch.randn(4, 4))
    opt_g = torch.optim.Adam(G.parameters())
    with pytest.raises(InputError, match="graph"): steps.g_step(D, opt_g, fake, get_loss("bce"))
    with pytest.raises(InputError, match="rpgan compares pairs"):
        steps.g_step(D, opt_g, G(torch.randn(4, 4)), get_loss("rpgan"))


@pytest.mark.parametrize("other", [lambda: Generator(32, 3, 4, 2), lambda: Generator(32, 1, 4, 2).double(), nn.ReLU])
def test_an_average_of_another_network_is_refused(players, other):
    with pytest.raises(InputError, match="two kinds"): steps.ema_update(other(), players[0], .9)


def test_indices_beyond_the_images_are_refused():
    images = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    for wrong in ([0, 5], [-1, 2]):
        with pytest.raises(InputError, match="beyond 0…4"): steps.real_batch(images, torch.tensor(wrong), seeded(0))


def test_images_between_0_and_1_are_said():
    z = torch.rand(16, 1, 8, 8, generator=seeded(0))
    with pytest.warns(UserWarning, match=r"look like \[0,1\]"): steps.generate(nn.Identity(), z)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for quiet in (2 * z - 1, z[:15], torch.ones_like(z)): steps.generate(nn.Identity(), quiet)


def test_a_network_without_weights_generates():
    z = torch.rand(3, 1, 8, 8) * 2 - 1
    assert steps.generate(nn.Identity(), z).shape == z.shape


@pytest.mark.parametrize("wrong", [
    dict(real=torch.zeros(4, 1, 32, 32, dtype=torch.uint8)), dict(real=torch.zeros(0, 1, 32, 32)),
    dict(fake=torch.zeros(4, 3, 32, 32)), dict(loss="bce"), dict(D=None)])
def test_a_d_step_on_something_else_is_refused_before_it_moves(players, wrong):
    _, D = players
    before = [p.clone() for p in D.parameters()]
    given = dict(D=D, opt_d=torch.optim.SGD(D.parameters(), lr=1.), real=torch.zeros(4, 1, 32, 32),
                 fake=torch.zeros(4, 1, 32, 32), loss=get_loss("bce"))
    with pytest.raises(InputError): steps.d_step(**given | wrong)
    assert all(map(torch.equal, before, D.parameters()))


def test_grids_side_by_side_are_magnified_by_a_whole_number():
    few, many = torch.zeros(9, 3, 32, 32, dtype=torch.uint8), torch.zeros(64, 3, 64, 64, dtype=torch.uint8)
    for a, b, times in (few, few[:3], 2), (many, many, 1):
        for ax in steps.plot_real_beside_fake(a, b, n=64).axes:
            box, (height, width) = ax.get_window_extent(), ax.images[0].get_array().shape[:2]
            assert (box.width, box.height) == pytest.approx((times * width, times * height), abs=.01)
