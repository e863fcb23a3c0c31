"""Guards of SAGAN: spectral norm, the attention block in both its ways, the networks, and what training must know."""
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan_course import cli, sagan
from gan_course.core import InputError, seeded
from gan_course.dcgan import MODEL_DEFAULTS, build_model
from gan_course.losses import get_loss
from gan_course.runs import pack_run
from gan_course.sagan import (
    SelfAttention2d,
    SNDiscriminator,
    SNGenerator,
    attention_maps,
    normalised,
    plot_attention,
    receptive_field,
)
from gan_course.settings import TrainConfig, with_defaults
from gan_course.steps import d_step, ema_update, g_step, generate
from gan_course.storage import read_tensors
from gan_course.training import Stopped, resume, train

TINY = TrainConfig(data="toy-birds", limit=64, model="sagan", base_channels=8, batch_size=32, epochs=2, ema=.9,
                     samples=4, precision="bf16")


def layers_of(net):
    return {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d|nn.ConvTranspose2d|nn.Linear)}


@torch.no_grad()
def norm_of(layer):
    """Largest singular value of the kernel as the layer uses it now, one row for each output channel."""
    W = layer.eval().weight
    if isinstance(layer, nn.ConvTranspose2d): W = W.transpose(0, 1)
    return torch.linalg.matrix_norm(W.flatten(1), 2).item()


@pytest.fixture
def block():
    torch.manual_seed(0)
    block = SelfAttention2d(16).eval()
    with torch.no_grad(): block.gamma.fill_(.7)
    return block


@pytest.fixture
def x(): return torch.randn(2, 16, 8, 6, generator=seeded(1)) * 2


@pytest.fixture
def players():
    G, D = build_model("sagan", base_channels=8)
    with torch.no_grad():
        for net in (G, D): next(m for m in net.modules() if isinstance(m, SelfAttention2d)).gamma.fill_(.5)
    return G, D, torch.randn(8, 100, generator=seeded(2)), torch.rand(8, 3, 32, 32, generator=seeded(3)) * 2 - 1


def unequal(one, other): return [k for k, v in one.items() if not torch.equal(v, other[k])]


# --- spectral norm

@pytest.mark.parametrize("make, size", [
    (lambda: nn.Conv2d(16, 32, 4, 2, 1), (16, 4, 4)),
    (lambda: nn.ConvTranspose2d(32, 8, 4, 2, 1), (32, 2, 2)),
    (lambda: nn.Linear(40, 1), (40,)),
], ids=["conv", "transposed", "linear"])
def test_the_norm_becomes_one(make, size):
    torch.manual_seed(0)
    layer = normalised(make())
    with torch.no_grad(): layer.parametrizations.weight.original.mul_(7)
    for _ in range(200): layer.train()(torch.zeros(1, *size))
    assert norm_of(layer) == pytest.approx(1, abs=.01)


def test_eval_moves_nothing_and_copies_keep_u_and_v():
    layer = normalised(nn.Conv2d(8, 16, 3))
    x, before = torch.randn(1, 8, 5, 5, generator=seeded(0)), copy.deepcopy(layer.state_dict())
    twin = copy.deepcopy(layer)
    assert torch.equal(layer.eval()(x), layer(x)) and not unequal(layer.state_dict(), before)
    layer.train()(x)
    assert {k.rsplit(".", 1)[1] for k in unequal(layer.state_dict(), before)} == {"_u", "_v"}
    assert not unequal(twin.state_dict(), before)
    other = normalised(nn.Conv2d(8, 16, 3))
    other.load_state_dict(before)
    assert torch.equal(other.eval()(x), twin.eval()(x))


@pytest.mark.parametrize("head", ["fc", "gap"])
def test_dcgan_sn_is_dcgan_with_spectral_norm_in_place_of_batch_norm_in_d(head):
    G, D = build_model("dcgan-sn", base_channels=8, head=head)
    plain = build_model("dcgan", base_channels=8, head=head)
    assert [m.kernel_size if isinstance(m, nn.Conv2d) else m.in_features for m in layers_of(D).values()] == \
        [m.kernel_size if isinstance(m, nn.Conv2d) else m.in_features for m in layers_of(plain[1]).values()]
    assert all(norm_of(m) < 1.2 and "weight" in m.parametrizations for m in layers_of(D).values())
    assert all(m.bias is not None for m in layers_of(D).values())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in D.modules())
    assert G.state_dict().keys() == plain[0].state_dict().keys()
    again = build_model("dcgan-sn", base_channels=8, head=head)[1]
    assert not unequal(D.state_dict(), again.state_dict())


@pytest.mark.parametrize("size, attention", [(32, 16), (32, 4), (64, 32), (64, 8)])
def test_sagan_bn_is_dcgan_with_the_block_and_normalised_convolutions(size, attention):
    with torch.random.fork_rng(): pair = sagan.sagan_bn(size, 3, 20, 8, "fc", attention)
    plain = build_model("dcgan", img_size=size, latent_dim=20, base_channels=8)
    x, z = torch.randn(4, 3, size, size, generator=seeded(0)), torch.randn(4, 20, generator=seeded(1))
    for net, twin, given, stack in zip(pair, plain, (z, x), ("layers", "features"), strict=True):
        layers, twins, seen = getattr(net, stack), getattr(twin, stack), []
        rest = [m for m in layers if not isinstance(m, SelfAttention2d)]
        block, = [m for m in layers if isinstance(m, SelfAttention2d)]
        block.register_forward_hook(lambda m, i, o, seen=seen: seen.append(o.shape[2:]))
        made = net.eval()(given)
        assert seen == [(attention, attention)]
        with torch.no_grad():
            for m, t in zip(rest, twins, strict=True):
                assert type(t) in type(m).__mro__ and hasattr(m, "parametrizations") == isinstance(m, nn.Conv2d)
                for name, value in t.named_parameters(): value.copy_(getattr(m, name))
            if net is pair[1]: twin.head.load_state_dict(net.head.state_dict())
        assert torch.equal(made, twin.eval()(given))  # at gamma 0 the block passes its input on
    for name, w in pair[0].named_parameters():
        if "weight" in name and w.numel() > 2000 and "parametrizations" not in name: assert abs(w.std() - .02) < .005


def test_sagan_bn_by_name():
    one, same = (build_model("sagan-bn", seed=3, base_channels=8, head="gap") for _ in range(2))
    for a, b in zip(one, same, strict=True): assert not unequal(a.state_dict(), b.state_dict())
    assert MODEL_DEFAULTS["sagan-bn"]["loss"] == "hinge" and one[1].head.in_features == 8 * 4
    for net in build_model("sngan-bn", base_channels=4):
        assert not any(isinstance(m, SelfAttention2d) for m in net.modules())
    with pytest.raises(InputError, match="attention can be at 4, 8, 16"): sagan.sagan_bn(32, 3, 20, 8, "fc", 12)


def test_sigma_is_differentiable_and_u_and_v_are_not():
    layer = normalised(nn.Conv2d(8, 16, 3, bias=False))
    layer(torch.randn(1, 8, 5, 5, generator=seeded(0))).square().sum().backward()
    W = layer.parametrizations.weight.original
    cosine = (W.grad * W).sum() / (W.grad.norm() * W.norm())
    assert cosine.abs() < 1e-5  # the length of W does not matter, so no gradient along it
    assert not any(b.requires_grad for b in layer.buffers())
    assert [n for n, _ in layer.named_parameters()] == ["parametrizations.weight.original"]


def test_the_iteration_runs_in_float32_under_autocast():
    layer, x = normalised(nn.Conv2d(8, 16, 3)), torch.zeros(1, 8, 5, 5)
    twin = copy.deepcopy(layer)
    with torch.autocast("cpu", torch.bfloat16): assert layer(x).dtype == torch.bfloat16
    twin(x)
    assert not unequal(layer.state_dict(), twin.state_dict())


# --- the block

def test_projections_are_normalised_1x1_convolutions_without_bias(block):
    for layer in layers_of(block).values():
        assert layer.kernel_size == (1, 1) and layer.bias is None and "weight" in layer.parametrizations
    assert [layers_of(block)[name].out_channels for name in ("query", "key", "value", "out")] == [2, 2, 8, 16]


def test_the_map_is_over_pooled_sources_and_each_row_sums_to_one(block, x):
    y, weights = block(x, return_map=True)
    assert weights.shape == (2, 48, 12) and weights.dtype == torch.float32
    assert torch.allclose(weights.sum(-1), torch.ones(2, 48), atol=1e-5)
    q = block.query(x).flatten(2)  # (2,2,48)
    k, v = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (block.key, block.value))  # (2,2,12), (2,8,12)
    assert torch.allclose(weights, (q.transpose(1, 2) @ k).softmax(-1), atol=1e-5)
    assert torch.allclose(y, x + block.gamma * block.out((v @ weights.transpose(1, 2)).unflatten(2, (8, 6))), atol=1e-5)


def test_at_gamma_zero_the_block_is_not_there(x):
    block = SelfAttention2d(16)
    y = block(x)
    assert torch.equal(y, x) and block.gamma.shape == ()
    y.square().sum().backward()
    assert block.gamma.grad != 0
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for n, p in block.named_parameters() if n != "gamma")


@pytest.mark.parametrize("explicit_below", [0, 10**9], ids=["fused", "explicit"])
def test_queries_of_zero_look_everywhere_equally(block, x, explicit_below, monkeypatch):
    monkeypatch.setattr(sagan, "EXPLICIT_BELOW", explicit_below)
    block.query.register_forward_hook(lambda layer, inputs, output: torch.zeros_like(output))
    mean = F.max_pool2d(block.value(x), 2).mean((2, 3), keepdim=True)
    assert torch.allclose(block(x), x + block.gamma * block.out(mean), atol=1e-5)


def test_both_ways_give_the_same_numbers_and_gradients(block, x, monkeypatch):
    seen = []
    for below in (0, 10**9):
        monkeypatch.setattr(sagan, "EXPLICIT_BELOW", below)
        leaf = x.clone().requires_grad_()
        y = block(leaf)
        seen.append([y, *torch.autograd.grad(y.sin().sum(), [leaf, *block.parameters()])])
    for fused, explicit in zip(*seen, strict=True): assert torch.allclose(fused, explicit, atol=2e-5)


def test_the_way_is_chosen_by_size(monkeypatch):
    called, real = [], F.scaled_dot_product_attention
    def noted(q, k, v, **how):
        called.append((q.shape, k.shape, v.shape))
        return real(q, k, v, **how)
    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    block = SelfAttention2d(8)
    block(torch.zeros(1, 8, 16, 16))
    assert not called
    block(torch.zeros(1, 8, 64, 64))
    (q, k, v), = called
    assert q[-1] == k[-1] == v[-1] == 4  # equal widths: otherwise the whole matrix is stored


def test_too_few_channels_and_odd_sizes_are_named(block):
    with pytest.raises(InputError, match="at least 8 channels.*not 7"): SelfAttention2d(7)
    for size in ((7, 8), (8, 7)):
        with pytest.raises(InputError, match=f"even height and width, not {size[0]}×{size[1]}"):
            block(torch.zeros(1, 16, *size))


# --- looking at it

def test_the_map_shown_is_the_map_used(players, monkeypatch):
    G, _, z, _ = players
    y, maps = attention_maps(G, z)
    assert [m.shape for m in maps] == [(8, 256, 64)] and torch.allclose(y, G.eval()(z), atol=1e-5)
    forward = SelfAttention2d.forward

    def other(self, x, return_map=False):  # a block whose map matters
        out = forward(self, x, return_map)
        return (out[0] + 1, out[1]) if return_map else out
    monkeypatch.setattr(SelfAttention2d, "forward", other)
    assert not torch.allclose(attention_maps(G, z)[0], y, atol=1e-2)


def test_looking_leaves_no_trace(players):
    G, D, z, images = players
    before = copy.deepcopy(G.train().state_dict())
    attention_maps(G, z)
    assert G.training and not unequal(G.state_dict(), before)
    assert not any(m._forward_hooks for m in G.modules())
    plain = SNGenerator(base_channels=8, attention=None)
    with pytest.raises(InputError, match="no self-attention"): attention_maps(plain, z)
    assert len(plot_attention(D, images[:2], [(.5, .5), (0, .99)]).axes) == 6


def test_the_figure_states_the_largest_weight_and_magnifies_by_a_whole_number(players):
    D, images = players[1], players[3][:1]
    fig = plot_attention(D, images, [(.5, .25)])
    largest = attention_maps(D, images)[1][0][0, 8 * 16 + 4].max()
    assert fig.axes[1].get_title() == f"at most {largest:.2f}"
    for ax in fig.axes: assert ax.get_window_extent().size == pytest.approx(4 * 32)


def test_attention_reaches_where_convolutions_do_not(players):
    D, images = players[1].eval(), players[3][:1]
    _, _, block, last = D.features[:4]
    with_block, without = D.features[:4], nn.Sequential(*D.features[:2], last)
    assert (receptive_field(without, images, (4, 4)) > 0).sum() == 100
    assert (receptive_field(with_block, images, (4, 4)) > 0).float().mean() > .8
    with torch.no_grad(): block.gamma.zero_()
    assert (receptive_field(with_block, images, (4, 4)) > 0).sum() == 100


# --- the networks

@pytest.mark.parametrize("img_size, attention", [(32, 16), (32, 8), (64, 16), (64, 32), (32, None)])
def test_spectral_norm_everywhere_batch_norm_in_g_and_attention_where_asked(img_size, attention):
    G, D = SNGenerator(img_size, 1, 20, 8, attention), SNDiscriminator(img_size, 1, 8, attention)
    for net in (G, D):
        assert all("weight" in getattr(m, "parametrizations", {}) for m in layers_of(net).values())
    assert any(isinstance(m, nn.BatchNorm2d) for m in G.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in D.modules())
    x = G(torch.randn(2, 20, generator=seeded(0)))
    assert x.shape == (2, 1, img_size, img_size) and D(x).shape == (2,)
    both = ((G, torch.zeros(1, 20)), (D, x)) if attention else ()
    seen = [round(m.shape[1]**.5) for net, given in both for m in attention_maps(net, given)[1]]
    assert seen == ([attention] * 2 if attention else [])


def test_d_sums_over_the_positions(players):
    D, images, seen = players[1].eval(), players[3], []
    D.head.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    D(images)
    assert torch.allclose(seen[0], D.features(images).sum((2, 3)), rtol=1e-4)


def test_sizes_are_those_of_dcgan():
    def sizes(name): return [sum(p.numel() for p in net.parameters()) for net in build_model(name)]
    dcgan, sngan, with_block = sizes("dcgan"), sizes("sngan"), sizes("sagan")
    assert [a - b for a, b in zip(with_block, sngan, strict=True)] == [5121, 5121]
    assert all(abs(a / b - 1) < .01 for a, b in zip(sngan, dcgan, strict=True))


@pytest.mark.parametrize("make, message", [
    (lambda: SNGenerator(48), "32, 64, 128 pixels, not 48"),
    (lambda: SNDiscriminator(32, attention=32),
     r"no 32×32 feature map in a SAGAN of 32 pixels: attention can be at 4, 8, 16, or None"),
    (lambda: SNGenerator(64, attention=12), "can be at 4, 8, 16, 32, or None"),
    (lambda: build_model("sagan", base_channels=7), "at least 8 channels"),
    (lambda: build_model("sngan", head="gap"), "one head"),
], ids=["size", "attention-d", "attention-g", "channels", "head"])
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(InputError, match=message) as error: make()
    assert "\n" not in str(error.value)


def test_the_command_line_says_it_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "--data", "toy-birds", "--limit", "64", "--model", "sagan", "--base-channels", "4",
                  "--out", str(tmp_path / "r")])
    err = capsys.readouterr().err
    assert end.value.code == 2 and len(err.strip().splitlines()) == 1 and "at least 8 channels" in err
    assert not (tmp_path / "r").exists()


# --- training

def test_defaults_are_hinge_and_one_step_each():
    config = with_defaults(TrainConfig(model="sagan"))
    assert (config.loss, config.lr_g, config.lr_d, config.beta1, config.d_steps) == ("hinge", 2e-4, 2e-4, .5, 1)
    assert MODEL_DEFAULTS["sagan"] == MODEL_DEFAULTS["sngan"]  # a fair comparison


def test_g_step_leaves_u_and_v_of_d_and_has_its_gradient_in_train_mode(players):
    G, D, z, _ = players
    twin, before = copy.deepcopy(G), copy.deepcopy(D.state_dict())
    expected = torch.autograd.grad(get_loss("hinge").g(copy.deepcopy(D)(twin(z)), None), list(twin.parameters()))
    g_step(D, torch.optim.SGD(G.parameters(), lr=0.), G(z), get_loss("hinge"))
    for p, e in zip(G.parameters(), expected, strict=True): assert torch.allclose(p.grad, e, atol=1e-6)
    assert not unequal(D.state_dict(), before) and all(p.requires_grad and p.grad is None for p in D.parameters())


def test_d_step_moves_u_and_v_and_leaves_g(players):
    G, D, z, real = players
    before = copy.deepcopy(D.state_dict())
    d_step(D, torch.optim.SGD(D.parameters(), lr=.01), real, G(z), get_loss("hinge"))
    changed = unequal(D.state_dict(), before)
    assert any(k.endswith("_u") for k in changed) and any(k.endswith("original") for k in changed)
    assert all(p.grad is None for p in G.parameters())


def test_the_average_has_norm_one_too(players):
    G, generator = players[0], seeded(4)
    ema = copy.deepcopy(G).eval()
    for _ in range(300):  # noisy steps: the directions u and v turn
        with torch.no_grad():
            for p in G.parameters(): p.add_(torch.randn(p.shape, generator=generator), alpha=3e-3)
            for layer in layers_of(G).values(): _ = layer.weight  # in train mode: one step of the iteration
        ema_update(ema, G, .99)
    assert all(norm_of(layer) == pytest.approx(1, abs=.12) for layer in layers_of(ema).values())


def test_a_run_resumes_to_the_bit_and_its_average_is_what_was_shown(tmp_path):
    def stop(training, row):
        if training.epoch == 2: raise KeyboardInterrupt
    whole = train(TINY, tmp_path / "a", progress=False)
    with pytest.raises(Stopped): train(TINY, tmp_path / "b", on_epoch_end=[stop], progress=False)
    resumed = resume(tmp_path / "b", progress=False)
    a, b = (read_tensors(run.path / "checkpoints/last.safetensors") for run in (whole, resumed))
    assert a.keys() == b.keys() and not unequal(a, b) and any(k.startswith("D.") and k.endswith("._v") for k in a)
    assert (generate(whole.generator(), whole.latents).int() - whole.samples(2).int()).abs().max() <= 3
    packed = pack_run(whole, tmp_path / "p")
    assert (generate(packed.generator(), whole.latents).int() - whole.samples(2).int()).abs().max() <= 6
    for layer in layers_of(packed.discriminator()).values(): assert norm_of(layer) == pytest.approx(1, abs=.1)
