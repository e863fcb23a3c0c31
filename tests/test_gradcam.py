"""Grad-CAM and Grad-CAM++ against closed forms and pytorch-grad-cam; what they leave behind; the heat; the command."""
import copy
import dataclasses
import gc
import shutil
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan_course import cli, gradcam
from gan_course.core import ImageSet, InputError, seeded, to_float
from gan_course.dcgan import Discriminator, build_model, init_weights
from gan_course.features import to_channels
from gan_course.gradcam import (
    METHODS,
    bootstrap_interval,
    box_masks,
    cam,
    cam_layers,
    cams,
    explain,
    gradcam_weights,
    heat_share,
    layer_gradients,
    overlay,
    plot_cam_table,
    plusplus_weights,
    target_score,
    to_heat,
    weighted_sum,
)
from gan_course.settings import TrainConfig
from gan_course.toybirds import toy_birds
from gan_course.training import train

BIRDS = toy_birds(12, seed=8)


class GapNet(nn.Module):
    """Convolution, global mean, linear: everything is known in closed form. (B,3,H,W) → (B,)."""

    def __init__(self, k=16, seed=0, negative=False):
        super().__init__()
        self.conv = nn.Conv2d(3, k, 3, padding=1)
        self.activation = nn.LeakyReLU(.2, inplace=True) if negative else nn.ReLU(inplace=True)
        self.head = nn.Linear(k, 1)
        with torch.no_grad():
            for p in self.parameters(): p.copy_(torch.randn(p.shape, generator=seeded(seed, p.numel())))

    def forward(self, x): return self.head(self.activation(self.conv(x)).mean((2, 3))).squeeze(1)


def noise(n=3, size=(8, 10), seed=0): return torch.rand(n, 3, *size, generator=seeded(seed)) * 2 - 1


def vgg_like():
    """Convolutions with and without batch norm, in-place ReLUs, max-pools, two linear layers; ten classes."""
    layers, c = [], 3
    for width in (16, 32, 32):
        layers += [nn.Conv2d(c, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
                   nn.Conv2d(width, width, 3, padding=1),
                   nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        c = width
    head = [nn.Flatten(), nn.Linear(32 * 16, 32), nn.ReLU(inplace=True), nn.Linear(32, 10)]
    net = nn.Sequential(nn.Sequential(*layers), *head)
    generator = seeded(4)
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1: p.copy_(torch.randn(p.shape, generator=generator) * (2 / p[0].numel())**.5)
    return net


def trained_like(seed=0, **kw):
    """A discriminator whose logits are not almost 0."""
    D = init_weights(Discriminator(base_channels=8, **kw), seeded(seed))
    with torch.no_grad():
        for p in D.parameters():
            if p.ndim > 1: p.mul_(4)
    return D.eval()


# --- the score

def test_the_score_is_the_logit_and_fake_is_its_negative():
    D = trained_like()
    logits = D(to_float(BIRDS.images))
    assert torch.allclose(cams(D, BIRDS.images, "features.7", "real").score, logits, atol=1e-5)
    assert torch.allclose(cams(D, BIRDS.images, "features.7", "fake").score, -logits, atol=1e-5)
    # (B,1) is one logit, too
    assert torch.equal(target_score(torch.tensor([[1.], [2.]]), "fake"), torch.tensor([-1., -2.]))


def test_a_probability_gives_a_black_map_where_the_network_is_sure():
    net, x = GapNet(), noise(1)
    with torch.no_grad(): net.head.bias += 20 - net(x)
    with pytest.warns(UserWarning, match="1 of 1 images is saturated"):
        assert cam(net, x, "conv", lambda output: output.sigmoid()).max() == 0
    for target in ("real", "fake"): assert cam(net, x, "conv", target).max() == 1


# --- closed forms

@pytest.mark.parametrize("negative", [False, True])
def test_gradcam_of_a_global_mean_has_a_closed_form(negative):
    net, x = GapNet(negative=negative), noise()
    A, g, _ = layer_gradients(net, x, "activation", "real")
    w = net.head.weight[0].detach()
    assert torch.allclose(A, net.activation(net.conv(x)), atol=1e-6)
    signed = torch.einsum("k,bkhw->bhw", w, A) / 80
    assert torch.allclose(weighted_sum(A, gradcam_weights(g)), signed, atol=1e-5 * signed.abs().max())
    low, high = signed.relu().amin((1, 2), True), signed.relu().amax((1, 2), True)
    assert torch.allclose(cam(net, x, "activation", "real"), (signed.relu() - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize("negative", [False, True])
def test_plusplus_of_a_global_mean_has_a_closed_form(negative):
    net, x = GapNet(negative=negative), noise()
    with torch.no_grad():
        net.head.weight.mul_(30)
        net.conv.bias.sub_(3)  # most activations below 0
    A, g, _ = layer_gradients(net, x, "activation", "real")
    slope, total = net.head.weight[0].detach() / 80, A.sum((2, 3))
    expected = slope.relu() * 80 / (2 + total * slope)
    beyond = (2 + total * slope <= 0) & (slope > 0)
    assert beyond.any() == negative  # only a LeakyReLU gets there
    weights, lost = plusplus_weights(A, g)
    assert torch.allclose(weights, expected.where(~beyond, 0.), rtol=1e-5, atol=1e-7)
    assert torch.allclose(lost, beyond.float().mean(1))
    assert torch.allclose(cams(net, x, "activation", "real").lost, lost)


def test_minus_the_score_gives_minus_the_map():
    D = trained_like()
    for layer in ("features.1", "features.7"):
        found = (layer_gradients(D, BIRDS.images, layer, target) for target in ("real", "fake"))
        maps = [weighted_sum(A, gradcam_weights(g)) for A, g, _ in found]
        assert maps[0].abs().max() > 0 and torch.allclose(maps[0], -maps[1], atol=1e-6 * maps[0].abs().max())


def test_equation_19_by_hand():
    A, g = torch.tensor([[[[1., 2.], [3., 4.]]]]), torch.tensor([[[[1., 2.], [0., -1.]]]])
    weights, lost = plusplus_weights(A, g)  # ΣA = 10, outside g³; -1 does not count: ReLU
    assert weights.item() == pytest.approx(1 / 12 + 2 / 22, rel=1e-6) and lost.item() == 0
    weights, lost = plusplus_weights(-A, g / 10)  # 2 - 10g: 1, 0, 2, 3
    assert weights.item() == pytest.approx(.1 / 1, rel=1e-5) and lost.item() == 1
    weights, _ = plusplus_weights(A, g, eps=1.)
    assert weights.item() == pytest.approx(1 / (2 + 10 + 1) + 2 * 4 / (8 + 80 + 1), rel=1e-6)


def test_alpha_is_that_of_the_derivation():
    """Y = exp(S), S linear in A: α from second and third derivatives by autograd equals equation 19."""
    A, g = (torch.rand(6, dtype=torch.float64, generator=seeded(seed)) for seed in (1, 2))
    g = g - .3
    alpha = []
    for i in range(6):
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)  # A goes up by t at position i
        y, derivatives = ((A + t * F.one_hot(torch.tensor(i), 6)) * g).sum().exp(), []
        for _ in range(3): derivatives.append(y := torch.autograd.grad(y, t, create_graph=True)[0])
        alpha.append((derivatives[1] / (2 * derivatives[1] + A.sum() * derivatives[2])).item())
    expected = (torch.tensor(alpha, dtype=torch.float64) * g.relu()).sum()
    assert torch.allclose(plusplus_weights(A.view(1, 1, 2, 3), g.view(1, 1, 2, 3))[0][0, 0], expected)


def test_small_gradients_do_not_underflow():
    A, g = torch.rand(2, 5, 4, 4, generator=seeded(0)), torch.rand(2, 5, 4, 4, generator=seeded(1)) + .5
    weights, _ = plusplus_weights(A, g * 1e-25)
    assert torch.allclose(weights * 1e25, g.sum((2, 3)) / 2, rtol=1e-4)


# --- hooks and in-place layers

def test_an_in_place_layer_after_the_hooked_one_changes_nothing():
    net, x = GapNet(negative=True), noise()
    A, g, _ = layer_gradients(net, x, "conv", "real")
    z = net.conv(x).detach()
    assert z.min() < -1 and torch.allclose(A, z, atol=1e-6)
    w = net.head.weight[0].detach()[:, None, None]
    assert torch.allclose(g, w / 80 * torch.where(z > 0, 1., .2), atol=1e-7)  # through the LeakyReLU


def test_a_layer_that_hands_on_its_input_may_be_overwritten_elsewhere():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.same = nn.Conv2d(3, 4, 3), nn.Identity()
        def forward(self, x):
            h = self.conv(x)
            score = self.same(h).flatten(1).sum(1)
            h.zero_()
            return score
    net, x = Net(), noise()
    assert torch.allclose(layer_gradients(net, x, "same")[0], net.conv(x), atol=1e-6)


def test_hooks_modes_flags_and_gradients_are_as_found():
    D = trained_like().train()
    D.features[3].eval()
    D.features[0].weight.requires_grad_(False)
    D.head.weight.grad = torch.ones_like(D.head.weight)
    modes, flags = [m.training for m in D.modules()], [p.requires_grad for p in D.parameters()]
    buffers, weights = [b.clone() for b in D.buffers()], [p.detach().clone() for p in D.parameters()]
    def check():
        assert [m.training for m in D.modules()] == modes and [p.requires_grad for p in D.parameters()] == flags
        now = [*D.buffers(), *D.parameters()]
        assert all(torch.equal(a, b) for a, b in zip([*buffers, *weights], now, strict=True))
        assert torch.equal(D.head.weight.grad, torch.ones_like(D.head.weight))
        assert D.head.bias.grad is D.features[2].weight.grad is None
        assert not any(m._forward_hooks or m._backward_hooks for m in D.modules())
    cams(D, BIRDS.images, "features.4")
    check()
    for bad in (dict(images=torch.zeros(2, 3, 64, 64)), dict(layer="head"), dict(target=lambda output: output.mean())):
        with pytest.raises(InputError): cams(**dict(model=D, images=BIRDS.images, layer="features.4") | bad)
        check()
    cam_layers(D)
    check()


def test_no_image_changes_the_map_of_another():
    D = trained_like().train()
    whole = cams(D, BIRDS.images, "features.4")
    dark = torch.cat([BIRDS.images[:3], BIRDS.images[3:] // 9])
    for other in (cams(D, BIRDS.images, "features.4", batch_size=5), cams(D, dark, "features.4")):
        for m in METHODS: assert torch.allclose(whole[m][:3], other[m][:3], atol=1e-4)
    assert torch.allclose(whole.plusplus[2:3], cams(D, BIRDS.images[2:3], "features.4").plusplus, atol=1e-4)


def test_it_works_without_gradients_around_it_and_leaves_no_graph():
    D = trained_like()
    with torch.no_grad(): inside = cams(D, BIRDS.images, "features.4")
    outside = cams(D, BIRDS.images, "features.4")
    assert torch.allclose(inside.gradcam, outside.gradcam)
    assert not outside.gradcam.requires_grad and outside.score.grad_fn is None


def test_memory_is_flat_over_100_calls():
    D = trained_like()
    def held(): return sum(x.numel() for x in gc.get_objects() if isinstance(x, torch.Tensor))
    cams(D, BIRDS.images[:2], "features.4")
    gc.collect()
    gc.disable()  # what waits for the collector counts as held
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = held()
            for _ in range(100): cams(D, BIRDS.images[:2], "features.4")
            assert held() <= before
    finally: gc.enable()


def test_layer_by_name_or_module_images_as_bytes_or_floats():
    D = trained_like()
    expected = cam(D, BIRDS.images, "features.7", method="gradcam++")
    assert torch.equal(cam(D, BIRDS.images, D.features[7], method="gradcam++"), expected)
    assert torch.equal(cam(D, to_float(BIRDS.images), "features.7", method="gradcam++"), expected)
    half = copy.deepcopy(D).bfloat16()
    assert cam(half, BIRDS.images, "features.7").dtype == torch.float32
    assert cam(trained_like(head="gap"), noise(2, (48, 96)), "features.7").shape == (2, 48, 96)


# --- from a sum to a heat map

def test_heat_is_between_0_and_1_at_the_size_of_the_image_and_per_image():
    maps = torch.randn(6, 3, 5, generator=seeded(0)) * torch.tensor([1e-8, 1., 1e8, 1., 1., 1.]).view(6, 1, 1)
    maps[3], maps[4] = -maps[3].abs(), .1
    heat = to_heat(maps, (12, 25))
    assert heat.shape == (6, 12, 25) and not heat[3].any() and not heat[4].any()
    for i in (0, 1, 2, 5):
        assert heat[i].min() == 0 and heat[i].max() == 1
        assert torch.equal(to_heat(maps[i:i + 1], (12, 25))[0], heat[i])
    ramp = torch.linspace(1, 2, 4).view(1, 1, 4).expand(1, 4, 4)
    assert torch.allclose(to_heat(ramp, (4, 4)), (ramp - 1), atol=1e-6)  # the smallest level becomes 0


def test_constant_maps_are_zero_at_any_size():
    for value in (1e-12, .1, 1 / 3, 7e5):
        for size in (16, 31, 64): assert not to_heat(torch.full((1, 4, 4), value), (size, size)).any()


# --- pytorch-grad-cam

def architectures():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    resnet, vgg, D = torchvision.models.resnet18(num_classes=10), vgg_like(), trained_like()
    def third(output): return output[:, 3]
    return [(resnet, resnet.layer4, 64, third), (resnet, resnet.layer2, 64, third),
            (vgg, vgg[0][17], 32, third), (vgg, vgg[0][10], 32, third),
            (D, D.features[7], 32, "real"), (D, D.features[4], 32, "fake")]


def keeping(explainer):
    """A class of pytorch-grad-cam that keeps its weights."""
    class Keeping(explainer):
        def get_cam_weights(self, *args):
            self.kept = super().get_cam_weights(*args)
            return self.kept
    return Keeping


@pytest.mark.filterwarnings("ignore:the maps of")
def test_both_methods_equal_pytorch_grad_cam():
    """Weights and sums before its post-processing, and the maps after it (min-max twice, enlarged in between)."""
    package = pytest.importorskip("pytorch_grad_cam")
    for net, layer, size, target in architectures():
        net.eval()
        x = noise(4, (size, size), 5)
        A, g, _ = layer_gradients(net, x, layer, target)
        both, sign = cams(net, x, layer, target, eps=1e-6), -1 if target == "fake" else 1
        ours = {"GradCAM": (gradcam_weights(g), both.gradcam),
                "GradCAMPlusPlus": (plusplus_weights(A, g, 1e-6)[0], both.plusplus)}
        def one(output, target=target, sign=sign): return output[3] if callable(target) else sign * output
        assert not plusplus_weights(A, g)[1].any()  # it has no guard: compare where none is needed
        for name, (weights, maps) in ours.items():
            with keeping(getattr(package, name))(net, [layer]) as explainer:
                theirs = torch.from_numpy(explainer(x, [one] * len(x)))
            raw = weighted_sum(A, weights)
            other = torch.einsum("bk,bkhw->bhw", torch.from_numpy(explainer.kept), A)
            assert (raw - other).abs().max() <= 1e-4 * raw.abs().max(), name
            assert maps.amax((1, 2)).any() and (maps - theirs).abs().max() <= 1e-4, name


# --- layers

@pytest.mark.filterwarnings("ignore:the maps of")
def test_layers_are_those_with_spatial_extent():
    torchvision = pytest.importorskip("torchvision")
    net = torchvision.models.resnet18(num_classes=10).eval()
    names = cam_layers(net)
    assert names["layer4.1"] == (512, 2, 2) and "layer4" not in names  # the same output
    assert {"layer1.0.relu", "avgpool", "fc"}.isdisjoint(names) and names["relu"] == (64, 32, 32)
    x = noise(2, (64, 64))
    def first(output): return output[:, 0]
    for name in [*names][::7]: assert cam(net, x, name, first).shape == (2, 64, 64)
    with pytest.raises(InputError, match=r"no spatial extent \(its output: \(2, 512, 1, 1\)"):
        cam(net, x, "avgpool", first)
    with pytest.raises(InputError, match="2 times"): cam(net, x, "layer1.0.relu", first)
    assert torch.equal(cam(net, x, "layer4", first), cam(net, x, "layer4.1", first))


def test_spectrally_normalised_kernels_are_no_layers():
    D = Discriminator(base_channels=2, img_channels=2)
    nn.utils.parametrizations.spectral_norm(D.features[0])
    assert list(cam_layers(D)) == [f"features.{i}" for i in range(8)]
    assert cam_layers(nn.Linear(64, 2)) == {}


def test_rows_of_tokens_have_no_spatial_extent():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.Flatten(), nn.Linear(192, 1))
    with pytest.raises(InputError, match=r"'1' has no spatial extent \(its output: \(3, 4, 48\)\): choose one of 0"):
        cam(net, noise(), "1")


@pytest.mark.parametrize("change, message", [
    (dict(layer="features.9"), r"no layer 'features.9'.*did you mean.*features.0.*features.7"),
    (dict(layer=""), "there are features.0"),
    (dict(layer=nn.Conv2d(3, 3, 3)), "no part of the network.*features.7"),
    (dict(layer="head"), r"layer 'head' has no spatial extent \(its output: \(12, 1\)\).*features.7"),
    (dict(target="bird"), "no target 'bird'.*fake, real"),
    (dict(target=lambda output: output.mean()), r"one score for each of the 12 images"),
    (dict(method="cam"), "no method 'cam'"),
    (dict(batch_size=0), "batch_size has to be at least 1 .*, not 0"),
    (dict(images=torch.zeros(3, 32, 32)), r"\(N, C, H, W\)"),
    (dict(images=torch.zeros(2, 2, 32, 32)), "2 channels, but this network takes 3"),
    (dict(images=torch.full((2, 3, 32, 32), 200.)), r"\[-1,1\]"),
    (dict(images=torch.full((2, 3, 32, 32), torch.nan)), "finite"),
    (dict(images=torch.zeros(2, 3, 32, 32, dtype=torch.int64)), "int64"),
    (dict(images=torch.zeros(2, 3, 64, 64)), "built for 32×32"),
])
def test_bad_input_is_named(change, message):
    good = dict(model=trained_like(), images=BIRDS.images, layer="features.7")
    with pytest.raises(InputError, match=message): cam(**good | change)


def test_a_network_without_a_single_logit_needs_a_target():
    net, x = vgg_like(), noise(2, (32, 32))
    with pytest.raises(InputError, match=r"\(2, 10\), so there is no single logit for target 'fake'.*lambda"):
        cam(net, x, "0.5")
    class Side(GapNet):
        def forward(self, x): return self.conv(x).sum((1, 2, 3)).detach() + super().forward(x) * 0 + self.head.bias
    side = Side()
    side.extra = nn.Conv2d(3, 2, 3)
    side.register_forward_hook(lambda module, args, output: (side.extra(args[0]), output)[1])
    with pytest.raises(InputError, match="does not depend on layer 'extra'"): cam(side, x, "extra")


# --- pictures

def test_overlay_and_table_take_grey_images_and_floats():
    grey, maps = BIRDS.images[:, :1], torch.rand(12, 32, 32, generator=seeded(0))
    assert torch.equal(overlay(grey, maps, alpha=0), grey.expand(-1, 3, -1, -1))
    assert torch.equal(overlay(grey, maps, alpha=1), gradcam.heat_colours(maps))
    assert torch.equal(overlay(to_float(BIRDS.images), maps), overlay(BIRDS.images, maps))
    with pytest.raises(InputError, match="N = 12"): overlay(BIRDS.images, maps[:3])
    both = cams(trained_like(img_channels=1), grey, "features.7")
    texts = [t.get_text() for t in plot_cam_table(grey[:2], {"a": both, "b": both}, ["x", "y"]).axes[0].texts]
    assert texts.count("CAM++") == 2 and {"a", "b", "x", "y"} < set(texts)


# --- where the heat lies

def test_boxes_cover_pixels_in_part_and_end_at_the_border():
    m = box_masks(torch.tensor([[.5, 1., 2., 1.25], [-3., -3., 100., 100.], [6., 0., 3., 1.]]), (4, 5))
    expected = [[0., 0, 0, 0, 0], [.5, 1, .5, 0, 0], [.125, .25, .125, 0, 0], [0, 0, 0, 0, 0]]
    assert torch.equal(m[0], torch.tensor(expected))
    assert m[1].eq(1).all() and not m[2].any()


def test_heat_share_by_hand():
    maps = torch.zeros(5, 4, 4)
    maps[0, 0, 0], maps[0, 3, 3] = 3, 1    # 3/4 inside
    maps[1] = 1                            # like rain
    maps[2, 3, :] = 1                      # beside
    maps[4, 0, 0] = 1                      # its bird is out of the picture; maps[3] is black
    masks = torch.zeros(5, 4, 4, dtype=torch.bool)
    masks[:4, :2, :2] = True
    s = heat_share(maps, masks)
    for found, expected in (s.ratio, [3., 1., 0.]), (s.heat, [.75, .25, 0.]), (s.area, [.25, .25, .25]):
        assert torch.allclose(found[:3], torch.tensor(expected, dtype=torch.float64)) and found[3:].isnan().all()
    assert (s.black, s.without) == (1, 1)
    m = s.mean()
    assert m["n"] == 3 and m["ratio"] == pytest.approx(4 / 3) and m["heat"] == pytest.approx(1 / 3) and m["black"] == 1
    assert m["low"] <= m["ratio"] <= m["high"] and "3 images; left out: 1 black; left out: 1 without a bird" in repr(s)
    boxes = torch.tensor([[0., 0., 2., 2.]] * 4 + [[9., 9., 2., 2.]])
    assert torch.equal(heat_share(maps, boxes).ratio[:3], s.ratio[:3]) and heat_share(maps, boxes).without == 1


def test_elsewhere_is_the_mean_over_the_other_images():
    maps, masks = torch.rand(6, 8, 8, generator=seeded(0))**3, BIRDS.masks[:6, ::4, ::4]
    maps[2] = 0
    s, used = heat_share(maps, masks), [0, 1, 3, 4, 5]
    for i in used:
        others = [(maps[i] * masks[j]).sum() / maps[i].sum() / masks[j].float().mean() for j in used if j != i]
        assert s.elsewhere[i].item() == pytest.approx(torch.stack(others).mean().item(), rel=1e-5)
    assert heat_share(maps[:1], masks[:1]).elsewhere.isnan().all()


def test_shares_of_what_does_not_fit_are_refused():
    ones = torch.ones(2, 4, 4)
    for maps, masks, message in ((ones, torch.ones(3, 4, 4), "give masks"), (ones, torch.ones(3, 4), "give masks"),
                                 (-ones, ones, "negative"), (ones * torch.nan, ones, "NaN")):
        with pytest.raises(InputError, match=message): heat_share(maps, masks)


def test_the_interval_covers_as_often_as_it_says():
    hits = 0
    for i in range(200):
        low, high = bootstrap_interval(torch.empty(60).exponential_(generator=seeded(i)), draws=400, level=.9)
        hits += low <= 1 <= high
    assert .8 <= hits / 200 <= .95  # a skewed distribution and 60 values: a little below .9
    values = torch.tensor([1., 2., 3., torch.nan])
    assert bootstrap_interval(values) == bootstrap_interval(values[:3]) and bootstrap_interval(torch.ones(4)) == (1, 1)
    assert all(np.isnan(bootstrap_interval(torch.tensor([torch.nan]))))


# --- explain

@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a folder of toy birds, and the folder."""
    from PIL import Image
    place = tmp_path_factory.mktemp("explain")
    for part in ("train", "test"): (place / "birds" / part).mkdir(parents=True)
    for i, image in enumerate(toy_birds(24, seed=3).images):
        part = "test" if i < 6 else "train"
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / "birds" / part / f"{i}.png")
    config = TrainConfig(str(place / "birds"), size=32, base_channels=2, latent_dim=4, epochs=1, batch_size=8,
                           samples=5, precision="float32")
    return train(config, place / "run", progress=False)


def test_explain_takes_held_out_images_and_samples_where_they_are_gone(run, tmp_path, monkeypatch):
    e = explain(run)
    assert len(e.data) == 6 and e.data.split == "test" and list(e.layers) == ["features.1", "features.4", "features.7"]
    assert "pictures only" in repr(e) and "ratio" not in e.rows()[0]
    monkeypatch.setattr(run.config, "data", str(tmp_path / "gone"))
    e = explain(run, layers=["features"], limit=3)
    assert "generated images of run" in repr(e) and "not at hand" in repr(e)
    assert len(e.data) == 3 and e.layers == {"features": (8, 4, 4)}
    assert torch.equal(e.data.images, run.samples()[:3])


def test_explain_opens_what_it_is_given(run, tmp_path, monkeypatch):
    expected = repr(explain(run))
    assert repr(explain(run.path)) == repr(explain(str(run.path))) == expected
    monkeypatch.chdir(tmp_path)
    ready = explain("toy-birds-dcgan", layers=["features.7"], limit=4)
    assert len(ready.data) == 4 and ready.data.split == "test" and ready.data.masks is not None
    assert ready.data.name == "toy-birds"
    wrongs = (("toy-bird-dcgan", "mean 'toy-birds-dcgan'"), (tmp_path, "no run folder"), (7, "has to be Run"))
    for wrong, message in wrongs:
        with pytest.raises(InputError, match=message): explain(wrong)


def test_without_a_held_out_part_explain_takes_the_images_of_the_training(run, tmp_path, monkeypatch):
    shutil.copytree(run.path.parent, tmp_path / "copy")
    (flat := tmp_path / "copy" / "flat").mkdir()
    for file in (tmp_path / "copy/birds/train").iterdir(): shutil.copy(file, flat)
    config = dataclasses.replace(run.config, data=str(flat))
    again = train(config, tmp_path / "again", progress=False)
    e = explain(again, layers=["features.7"])
    assert len(e.data) == 18 and e.data.split == "train"


def test_explain_prefers_masks_to_boxes_and_counts_what_it_says():
    D = trained_like()
    e = explain(D, BIRDS, ["features.4"], "real")
    expected = heat_share(cam(D, BIRDS.images, "features.4", "real", "gradcam++"), BIRDS.masks).mean()
    first, second = e.rows()
    assert {k: second[k] for k in expected} == expected and second["method"] == "gradcam++" and first["lost"] is None
    boxed = ImageSet(BIRDS.images, boxes=BIRDS.boxes, name="boxed")
    in_box = explain(D, boxed, ["features.4"], "real")
    assert in_box.rows()[0]["area"] > first["area"] and "box of the bird" in repr(in_box)
    with pytest.raises(InputError, match="a network alone has no images"): explain(D)
    captions = [t.get_text() for t in explain(D, BIRDS, ["features.4"], "fake").figure(2).axes[0].texts]
    assert f"logit {D(to_float(BIRDS.images[:1])).item():+.1f}" in captions


def test_the_command_writes_a_picture_and_prints_the_numbers(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cli.main(["explain", "toy-birds-dcgan", "--limit", "20", "--layer", "features.4", "features.7"])
    out = capsys.readouterr().out
    assert all(text in out for text in ("20 images of toy-birds test", "features.7", "elsewhere"))
    assert (tmp_path / "toy-birds-dcgan-explain.png").stat().st_size > 5000
    birds = str(run.path.parent / "birds")
    cli.main(["explain", str(run.path), "--images", birds, "--target", "real", "--out", "deep/a.png"])
    out = capsys.readouterr().out
    assert "heat for 'real' on 6 images" in out and "pictures only" in out and (tmp_path / "deep/a.png").is_file()


@pytest.mark.parametrize("args, message", [
    (["toy-birds-dcgan", "--layer", "features.77"], "there is no layer 'features.77'"),
    (["toy-birds-dcgan", "--layer", "head"], "no spatial extent"),
    (["toy-birds-dcgan", "--target", "bird"], "no target 'bird'"),
    (["toy-birds-dcgan", "--limit", "0"], "at least 1"),
    (["toy-birds-dcgan", "--rows", "0"], "at least 1"),
    (["toy-birds-dcgan", "--images", "./empty"], "empty"),
    (["toy-birds-dcgan", "--weights", "7"], "no weights of '7'"),
    (["./empty"], "no run folder"),
    (["toy-bird-dcgan"], "did you mean 'toy-birds-dcgan'"),
])
def test_the_command_names_bad_input_in_one_line(args, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end: cli.main(["explain", *args])
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.count("\n") == 1 and message in err


# --- networks and sessions of others

class Wrapped(nn.Module):
    """A discriminator that returns something else than a tensor of logits."""
    def __init__(self, D, form):
        super().__init__()
        self.D, self.form = D, form

    def forward(self, x): return self.form(self.D(x))


def test_outputs_that_are_dicts_or_tuples_take_a_function():
    D, x = trained_like(), BIRDS.images[:4]
    wanted = cam(D, x, "features.7")
    for form, target, example in ((lambda s: {"logits": s}, lambda o: -o["logits"], r"output\['logits'\]"),
                                  (lambda s: (s, 1), lambda o: -o[0], r"output\[0\]")):
        model = Wrapped(D, form)
        assert torch.equal(cam(model, x, "D.features.7", target), wanted)
        with pytest.raises(InputError, match=example): cam(model, x, "D.features.7")


@pytest.mark.parametrize("target", [lambda o: (o[0] + o[1]).flatten(), lambda o: torch.stack(o).mean((0, 2))])
@pytest.mark.parametrize("sure", [True, False])
def test_of_a_list_of_outputs_all_have_to_be_saturated(target, sure):
    D, x = trained_like(), BIRDS.images[:4]
    model = Wrapped(D, lambda s: [torch.sigmoid(s[:, None] + 1e3), torch.sigmoid(s[:, None] + (-1e3 if sure else 0))])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        cam(model, x, "D.features.7", target)
    assert any("of 4 images is saturated" in str(w.message) for w in found) == sure


def test_black_maps_are_said_and_broken_ones_refused():
    net, x = GapNet(), noise(3)
    with torch.no_grad(): net.head.weight.abs_().neg_()  # nothing speaks for "real"
    with pytest.warns(UserWarning, match="maps of 3 of 3 images at layer 'activation' are 0 everywhere"):
        assert not cam(net, x, "activation", "real").any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cam(net, x, "activation", "fake")
    with torch.no_grad(): net.conv.bias[0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinities at layer 'conv'"): cam(net, x, "conv")


def test_what_a_target_function_does_wrong_is_said():
    D, x = trained_like(), BIRDS.images[:4]
    class Answer:
        def __init__(self, logits): self.logits = logits
    for form, target, message in (
        (lambda s: {"logits": s}, lambda o: o["logit"], "fails on the network's output, a dict .*logit"),
        (lambda s: s, lambda o: o > 0, r"gave \(4,\) torch.bool"), (lambda s: s, lambda o: None, "gave NoneType"),
        (lambda s: s > 0, "real", "output is torch.bool"), (Answer, "fake", r"is a Answer.*output\.logits"),
        (lambda s: s.expand(3, 4).T, "fake", r"output\[:, 2\]"), (lambda s: s.detach(), "fake", "does not depend"),
        (lambda s: s.view(-1, 1, 1, 1).expand(4, 1, 5, 5), "fake", r"output\.mean\(\(1, 2, 3\)\)"),
    ):
        with pytest.raises(InputError, match=message): cam(Wrapped(D, form), x, "D.features.7", target)


def test_a_compiled_network_is_explained_as_it_is_written():
    D, x = trained_like(), BIRDS.images[:4]
    graphs = []
    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward
    compiled = torch.compile(D, backend=backend)
    assert torch.equal(cam(compiled, x, "_orig_mod.features.7"), cam(D, x, "features.7"))
    assert not graphs  # with a hook at each layer it would be compiled again and again
    compiled(to_float(x))
    assert graphs


def test_folders_are_opened_as_the_network_takes_them(run):
    birds = str(run.path.parent / "birds")
    for channels in (1, 3):
        _, D = build_model("dcgan", img_channels=channels, base_channels=4)
        assert explain(D, birds, ["features.4"]).data.img_channels == channels


def test_a_saturated_score_is_said_once_and_no_other():
    D, x = trained_like(), BIRDS.images[:12]
    def said(scale, call, last=torch.sigmoid):
        model = Wrapped(D, lambda s: last(scale * (s - s.detach().mean()) / s.detach().std() + scale))
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            call(model)
        return [str(w.message) for w in found if "saturated" in str(w.message)], [w.filename for w in found]
    for call in (lambda m: cam(m, x, "D.features.7", batch_size=4), lambda m: cams(m, x, "D.features.7", "real"),
                 lambda m: explain(m, x)):
        texts, places = said(1000, call)
        assert len(texts) == 1 and "of 12 images" in texts[0] and "Identity" in texts[0] and places[0] == __file__
        assert said(1, call)[0] == [] and said(1000, call, torch.neg)[0] == []
    assert said(1000, lambda m: cam(m, x, "D.features.7"), torch.tanh)[0]


def test_in_inference_mode_maps_are_the_same():
    wanted = cam(trained_like(), BIRDS.images[:4], "features.7")
    with torch.inference_mode():
        model, images = trained_like(), BIRDS.images[:4].clone()
        assert torch.equal(cam(model, images, "features.7"), wanted)
        assert list(cam_layers(model, images)) == list(cam_layers(trained_like()))


def test_a_network_that_takes_no_images_is_named():
    G, _ = build_model("dcgan", base_channels=4)
    with pytest.raises(InputError, match="this Generator fails on images"): explain(G, BIRDS.images[:4])


def test_a_grey_network_explains_colour_pictures():
    _, D = build_model("dcgan", img_channels=1, base_channels=4)
    grey = to_channels(BIRDS.images[:4], 1)
    assert torch.equal(cam(D, BIRDS.images[:4], "features.4"), cam(D, grey, "features.4"))
    assert explain(D, BIRDS.images[:4]).data.images.shape[1] == 3
