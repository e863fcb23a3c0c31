"""Guards of gan_course.dcgan that no learner would gain by reading; what teaches stands in nbs/05_dcgan.ipynb."""
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_course.core import InputError, seeded
from gan_course.dcgan import (
    MODEL_DEFAULTS,
    MODELS,
    Discriminator,
    Generator,
    build_model,
    dcgan,
    init_weights,
    register_model,
)


@pytest.fixture
def registered():
    before = dict(MODELS), {k: dict(v) for k, v in MODEL_DEFAULTS.items()}
    yield
    for table, old in zip((MODELS, MODEL_DEFAULTS), before, strict=True):
        table.clear()
        table.update(old)


def kinds(stack): return [type(layer).__name__ for layer in stack]


# the networks


def test_layers_stand_as_the_paper_says():
    block = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert kinds(Generator(64, base_channels=4).layers) == 4 * block + ["ConvTranspose2d", "Tanh"]  # none at the output
    down = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    D = Discriminator(64, base_channels=4)
    assert kinds(D.features) == ["Conv2d", "LeakyReLU"] + 3 * down  # none at the input
    assert all(layer.negative_slope == .2 for layer in D.features if isinstance(layer, nn.LeakyReLU))


def test_images_stay_in_range_whatever_the_weights():
    G = Generator(base_channels=4)
    with torch.no_grad(): G.layers[-2].weight.mul_(1e4)
    x = G(torch.randn(4, 100, generator=seeded(0)))
    assert x.min() == -1 and x.max() == 1


@pytest.mark.parametrize("head", ["gap", "fc"])
def test_heads_are_what_they_are_called(head):
    D, h = Discriminator(base_channels=4, head=head), torch.randn(3, 16, 4, 4, generator=seeded(0))
    D.features = nn.Identity()
    flat = torch.stack([x.mean((1, 2)) if head == "gap" else x.reshape(-1) for x in h])
    assert torch.allclose(D(h), flat @ D.head.weight[0] + D.head.bias, atol=1e-5)


def test_fc_head_refuses_another_size():
    with pytest.raises(InputError, match=r"built for 32×32 pixels, not 64×64.*head='gap'"):
        Discriminator(base_channels=4)(torch.zeros(2, 3, 64, 64))


@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_sizes_and_heads_that_are_not_there_are_refused(network):
    with pytest.raises(InputError, match="32, 64, 128 pixels, not 28"): network(28)
    with pytest.raises(InputError, match="there is no head 'pool'"): Discriminator(head="pool")


# initial weights


def test_initial_weights_of_every_layer():
    for net in (Generator(), Discriminator()):
        for p in net.parameters(): nn.init.constant_(p, 9.)
        init_weights(net, seeded(0))
        for name, layer in net.named_modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert abs(layer.weight.mean() - 1) < .01 and .01 < layer.weight.std() < .03, name
            elif hasattr(layer, "weight"):
                assert abs(layer.weight.mean()) < .002 and abs(layer.weight.std() - .02) < .002, name
            if getattr(layer, "bias", None) is not None: assert not layer.bias.any(), name


def test_every_seed_has_weights_of_its_own():
    pairs = (build_model("dcgan", seed, base_channels=4) for seed in (3, 3, 4))
    first, again, other = (nn.ModuleList(pair).state_dict() for pair in pairs)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["0.layers.0.weight"], other["0.layers.0.weight"])
    of_g, of_d = first["0.layers.3.weight"], first["1.features.2.weight"]
    assert not torch.equal(of_g.flatten()[:9], of_d.flatten()[:9])


def test_building_moves_no_global_random_number():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_model("dcgan", base_channels=4)
    assert torch.equal(torch.rand(3), expected)


def test_own_init_is_kept_and_comes_from_the_seed(registered):
    def build(*shape):
        G, D = dcgan(*shape)
        D.features[2] = spectral_norm(D.features[2])  # its weight is computed: writing to it would do nothing
        D.own_init = True
        return G, D
    register_model("normed", build)
    torch.manual_seed(1)
    G, D = build_model("normed", 0, base_channels=4)
    torch.manual_seed(2)
    again, other = build_model("normed", 0, base_channels=4)[1], build_model("normed", 1, base_channels=4)[1]
    assert abs(G.layers[3].weight.std() - .02) < .002  # G did not ask for it
    # PyTorch's: U(-1/√n, 1/√n), n = 256
    assert abs(D.head.weight.std() - 1 / (3 * 256)**.5) < .005 and D.head.bias.any()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in D.state_dict().items())
    assert not torch.equal(D.head.weight, other.head.weight)


# a pair by name


def test_defaults_of_a_model_are_its_own(registered):
    wanted = dict(lr_d=4e-4, beta1=0.)
    register_model("mine", dcgan, wanted)
    register_model("plain", dcgan)
    assert MODEL_DEFAULTS["mine"] == MODEL_DEFAULTS["dcgan"] | wanted
    MODEL_DEFAULTS["plain"]["lr_g"] = 1.
    assert MODEL_DEFAULTS["dcgan"]["lr_g"] == 2e-4 and wanted == dict(lr_d=4e-4, beta1=0.)


def test_a_builder_is_looked_up_when_it_is_asked_for(registered):
    register_model("late", "gan_course.nowhere:pair")
    with pytest.raises(ModuleNotFoundError, match="gan_course.nowhere"): build_model("late")
    register_model("late", "gan_course.dcgan:dcgan")
    assert isinstance(build_model("late", base_channels=4)[0], Generator)


@pytest.mark.parametrize("wrong", [dict(latent_dim=0), dict(base_channels=0)])
def test_widths_below_one_are_refused(wrong):
    with pytest.raises(InputError, match="at least 1"): build_model("dcgan", **wrong)
