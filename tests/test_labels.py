"""Guards of labels: the layers and networks that know classes, training with them, and all that a class is asked of."""
import dataclasses
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gan_course import cli
from gan_course.core import ImageSet, InputError, seeded
from gan_course.data import load_images
from gan_course.dcgan import MODELS, build_model
from gan_course.evaluation import evaluate
from gan_course.gradcam import cams, explain
from gan_course.labels import (
    ConditionalBatchNorm2d,
    ConditionalGenerator,
    OneClass,
    ProjectionDiscriminator,
    conditional,
)
from gan_course.networks import outline
from gan_course.runs import open_run, pack_run
from gan_course.scenes import every_class, png, sheet
from gan_course.session import draw_labels, labels_in_order
from gan_course.settings import TrainConfig
from gan_course.sources import source_of
from gan_course.steps import d_step, g_step, generate
from gan_course.storage import read_tensors
from gan_course.training import resume, train
from gan_course.widgets import EpochBrowser, LatentExplorer

TINY = TrainConfig(data="toy-birds", limit=96, labels=True, base_channels=8, batch_size=32, epochs=2, ema=.9, samples=9,
                   precision="float32")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(TINY, tmp_path_factory.mktemp("runs") / "whole", progress=False)


@pytest.fixture
def x(): return torch.randn(6, 5, 4, 3, generator=seeded(1)) * 3 + 1


def test_conditional_batch_norm_is_batch_norm_with_the_rows_of_the_class(x):
    norm, plain, labels = ConditionalBatchNorm2d(4, 5), nn.BatchNorm2d(5), torch.tensor([3, 0, 0, 1, 3, 2])
    with torch.no_grad():
        for table in (norm.gain, norm.shift): table.weight.copy_(torch.randn(4, 5, generator=seeded(2)))
    for mode in (True, False):
        y = norm.train(mode)(x, labels)
        for i, label in enumerate(labels):  # PyTorch's own, with the numbers of that class
            with torch.no_grad():
                plain.weight.copy_(norm.gain.weight[label])
                plain.bias.copy_(norm.shift.weight[label])
            assert torch.allclose(y[i], plain.train(mode)(x)[i], atol=1e-5)
        plain.load_state_dict(dict(plain.state_dict(), **norm.normalise.state_dict()))


def test_a_mixture_of_classes_lies_between_them(x):
    norm = ConditionalBatchNorm2d(3, 5).eval()
    nn.init.normal_(norm.gain.weight)
    a, b = (norm(x, torch.full((6,), k)) for k in (0, 2))
    half = norm(x, torch.tensor([.25, 0, .75]).expand(6, 3))
    assert torch.allclose(half, .25 * a + .75 * b, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_knows_classes_and_begins_with_all_of_them_alike(model):
    plain_G, plain_D = build_model(model, 3, base_channels=8)
    G, D = build_model(model, 3, base_channels=8, num_classes=4)
    pair = build_model(model, 3, base_channels=8, num_classes=4)
    again = [[p.detach().clone() for p in net.parameters()] for net in pair]
    z, labels = torch.randn(4, 100, generator=seeded(0)), torch.arange(4)
    assert (G.num_classes, D.num_classes, G.latent_dim, D.img_size) == (4, 4, 100, 32)
    with torch.no_grad():
        images = plain_G.train()(z)
        assert torch.allclose(G.train()(z, labels), images, atol=1e-5)
        h = plain_D.eval().features(images)
        assert torch.allclose(plain_D(images), plain_D.logit(h))
        e = D.eval().embed.weight[labels]
        assert torch.allclose(D(images, labels) - plain_D(images), (e * h.sum((2, 3))).sum(1), atol=1e-4)
    for net, other in zip((G, D), again, strict=True): assert all(map(torch.equal, net.parameters(), other))
    shape = dict(img_size=32, img_channels=3, latent_dim=100, base_channels=8, head="fc", num_classes=4)
    on_meta = outline(model, shape)
    assert on_meta and all(p.is_meta for net in on_meta for p in net.state_dict().values())
    assert [*on_meta[1].state_dict()] == [*D.state_dict()]


def test_the_embedding_stays_under_spectral_norm():
    D = build_model("dcgan", num_classes=10)[1]
    with torch.no_grad(): D.embed.parametrizations.weight.original.mul_(50)
    for _ in range(30): D.embed.weight  # noqa: B018 - each look is one power iteration
    assert torch.linalg.matrix_norm(D.eval().embed.weight, 2).item() == pytest.approx(1, abs=.01)


def test_both_heads_sum_over_the_last_map():
    x, label = torch.randn(2, 3, 32, 32, generator=seeded(0)), torch.tensor([1, 1])
    for head in ("gap", "fc"):
        D = build_model("dcgan", base_channels=8, head=head, num_classes=2)[1].eval()
        with torch.no_grad(): added = D(x, label) - D.base(x)
        assert torch.allclose(added, D.base.features(x).sum((2, 3)) @ D.embed.weight[1], atol=1e-4)


@pytest.mark.parametrize("labels, message", [
    (None, "knows 4 classes: say which"), (torch.tensor([0, 4]), "reach from 0 to 4"),
    (torch.tensor([-1, 0]), "-1 to 0"),
    (torch.tensor([0]), r"shape \(1,\): \(2,\) is wanted"), (torch.rand(2, 3), r"\(2, 4\) is wanted"),
    ([0, 1], "a list")])
def test_labels_that_cannot_be(labels, message):
    G, D = build_model("dcgan", base_channels=4, num_classes=4)
    for call in (lambda: G(torch.randn(2, 100), labels), lambda: D(torch.zeros(2, 3, 32, 32), labels)):
        with pytest.raises(InputError, match=message): call()


def test_networks_that_classes_cannot_be_added_to():
    G, D = build_model("dcgan", base_channels=4)
    for pair in (conditional(G, D, 3), (nn.Linear(3, 3), D), (G, nn.Linear(3, 3))):
        with pytest.raises(InputError, match="conditional: . has to be"): conditional(*pair, 3)
    with pytest.raises(InputError, match="numbered from 0 to 2"): OneClass(ConditionalGenerator(G, 3), 3)


def test_data_without_classes(tmp_path):
    images = load_images("toy-birds", limit=64).images
    with pytest.raises(InputError, match="given images has no classes"): train(TINY, tmp_path / "a", images=images)
    assert not (tmp_path / "a").exists()


def test_both_players_are_told_the_classes_of_the_real_batch(tmp_path):
    told = []
    def my_d_step(D, opt_d, real, fake, *more):
        told.append(("d", more[-1], real))
        return d_step(D, opt_d, real, fake, *more)
    def my_g_step(D, opt_g, fake, *more):
        told.append(("g", more[-1], fake))
        return g_step(D, opt_g, fake, *more)
    config = dataclasses.replace(TINY, epochs=1, flip=False)
    images = load_images("toy-birds", limit=96)
    train(config, tmp_path / "r", progress=False, images=images, d_step=my_d_step, g_step=my_g_step)
    by_pixels = {x.numpy().tobytes(): int(y) for x, y in zip(images.images, images.labels, strict=True)}
    assert len(told) == 6
    for (_, d_labels, real), (_, g_labels, _) in zip(told[::2], told[1::2], strict=True):
        assert torch.equal(d_labels, g_labels)
        pixels = ((real + 1) * 127.5).round().to(torch.uint8)
        assert [by_pixels[x.contiguous().numpy().tobytes()] for x in pixels] == d_labels.tolist()


def test_the_run_folder(whole, tmp_path):
    images = load_images("toy-birds", limit=96)
    assert whole.classes == images.classes and len(whole.classes) == 8 and whole.config.labels
    assert torch.equal(whole.labels, labels_in_order(9, 8))
    again = generate(whole.generator("last"), whole.latents, labels=whole.labels)
    assert torch.equal(again, whole.samples())
    packed = pack_run(whole, tmp_path / "packed")
    assert torch.equal(packed.labels, whole.labels) and packed.classes == whole.classes
    assert packed.discriminator("last").num_classes == 8


@pytest.mark.parametrize("change", ["labels", "number", "names", "gone"])
def test_a_spoilt_run_with_labels(whole, tmp_path, change):
    from safetensors.torch import save_file
    info, fixed = json.loads((whole.path / "config.json").read_text()), read_tensors(whole.path / "latents.safetensors")
    place = pack_run(whole, tmp_path / "r").path
    if change == "labels": fixed["labels"][0] = 8
    if change == "gone": del fixed["labels"]
    if change == "number": info["model"]["num_classes"] = 7
    if change == "names": info["data"]["classes"] = ["a", 3]
    (place / "config.json").write_text(json.dumps(info))
    save_file(fixed, place / "latents.safetensors")
    with pytest.raises(InputError, match="labels below 8|labels, but data.classes"): str(open_run(place).labels)


def test_a_killed_run_goes_on_bit_for_bit(whole, tmp_path):
    begun = train(dataclasses.replace(TINY, epochs=1), tmp_path / "r", progress=False)
    run = resume(begun, 2, progress=False)
    old, new = (read_tensors(r.path / "checkpoints/last.safetensors") for r in (whole, run))
    assert old.keys() == new.keys() and all(torch.equal(old[k], new[k]) for k in old)


@pytest.mark.parametrize("how", [dict(loss="wgan-gp"), dict(r1=1.), dict(loss="rpgan"), dict(augment="color"),
                                 dict(precision="bf16", model="sagan")])
def test_penalties_losses_and_models(tmp_path, how):
    run = train(dataclasses.replace(TINY, epochs=1, **how), tmp_path / "r", progress=False)
    assert all(np.isfinite(v) for v in run.history[0].values() if v is not None)


def test_a_measurement_draws_classes_evenly_from_the_seed(whole):
    result = evaluate(whole, n_fake=64, extractor="small", progress=False)
    again = evaluate(whole, n_fake=64, extractor="small", progress=False)
    assert result.values == again.values and result.protocol["labels"] == "uniform"
    G, z = whole.generator(), torch.randn(8000, 2)
    counts = torch.bincount(draw_labels(len(z), G.num_classes, 0, 8))
    assert len(counts) == 8 and counts.min() > 850
    assert torch.equal(draw_labels(100, 8, 0), draw_labels(5000, 8, 0)[:100])


def test_the_classes_of_a_measurement_differ(whole):
    G = OnlyItsLabel(whole.generator())
    images = torch.cat(list(source_of(G, 64, latent_dim=100).batches(16)))
    assert images.flatten(1)[:, 0].unique().numel() == 8


class OnlyItsLabel(nn.Module):
    """Images that hold nothing but their class."""

    def __init__(self, G):
        super().__init__()
        self.num_classes = G.num_classes

    def forward(self, z, labels): return (labels / 4 - 1).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def test_heat_is_of_each_image_as_its_own_class(whole):
    D, images = whole.discriminator(), load_images("toy-birds", limit=10)
    result = explain(D, images, ["base.features.7"], limit=10)
    singles = zip(images.images.split(1), images.labels.split(1), strict=True)
    one_by_one = [cams(D, image, "base.features.7", labels=label).score for image, label in singles]
    assert torch.allclose(result.heat["base.features.7"].score, torch.cat(one_by_one), atol=1e-4)
    other = cams(D, images.images, "base.features.7", labels=(images.labels + 1) % 8).score
    assert not torch.allclose(torch.cat(one_by_one), other)
    assert len(explain(whole, "samples", limit=3).data) == 3
    with pytest.raises(InputError, match="say which"): cams(D, images.images, "base.features.7")
    unlabelled = ImageSet(images.images)
    with pytest.raises(InputError, match="say which"): explain(D, unlabelled)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys, whole):
    monkeypatch.chdir(tmp_path)
    def call(*args):
        status = 0
        try: cli.main([str(a) for a in args])
        except SystemExit as e: status = e.code or 0
        return (status, *capsys.readouterr())
    return call


def test_samples_of_a_class(here, whole):
    assert here("sample", whole.path, "--class", "slim grey", "--n", 3, "--out", "one")[0] == 0
    G = whole.generator()
    from gan_course.session import draw_latents
    wanted = generate(G, draw_latents(3, G.latent_dim, 0), labels=torch.full((3,), whole.classes.index("slim grey")))
    got = [np.array(Image.open(f"one/{i:05d}.png")) for i in range(3)]
    assert all(np.array_equal(a, b.permute(1, 2, 0).numpy()) for a, b in zip(got, wanted, strict=True))
    assert here("sample", whole.path, "--class", "all", "--cols", 3, "--out", "all.png")[0] == 0
    assert Image.open("all.png").size == (3 * 34 + 2, 8 * 34 + 2)


@pytest.mark.parametrize("args, said", [
    (("sample", "{run}", "--class", "slim gray"), "did you mean 'slim grey'"),
    (("sample", "toy-birds-dcgan", "--class", "frog"), "trained without labels")])
def test_classes_that_do_not_exist(here, whole, args, said):
    status, out, err = here(*(a.format(run=whole.path) for a in args))
    assert status == 2 and said in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("model", ["dcgan", "sagan"])
def test_export_takes_the_class_as_second_input(here, tmp_path, model):
    ort = pytest.importorskip("onnxruntime", reason="ONNX: pip install 'gan-course[export]'")
    run = train(dataclasses.replace(TINY, epochs=1, model=model), tmp_path / "r", progress=False)
    assert here("export", run.path, "--out", "g")[0] == 0
    G, z, labels = run.generator(), torch.randn(5, 100, generator=seeded(4)), torch.tensor([7, 0, 3, 3, 1])
    with torch.no_grad(): wanted = G(z, labels)
    code = ("import sys, torch; sys.path.insert(0, 'g'); from generator import load_generator; "
            "z, y = torch.load('in.pt'); torch.save(load_generator()(z, y), 'out.pt')")
    torch.save((z, labels), "in.pt")
    subprocess.run([sys.executable, "-c", code], check=True)
    assert torch.allclose(torch.load("out.pt"), wanted, atol=1e-4)
    session = ort.InferenceSession("g/generator.onnx", providers=["CPUExecutionProvider"])
    got = session.run(None, {"z": z.numpy(), "labels": labels.numpy()})[0]
    assert np.allclose(got, wanted, atol=1e-4)
    assert json.loads((tmp_path / "g/classes.json").read_text())["classes"] == run.classes


def test_one_class_is_a_generator_like_any_other(whole):
    G = whole.generator()
    frog = OneClass(G, 3)
    z = torch.randn(4, 100, generator=seeded(0))
    assert torch.equal(generate(frog, z), generate(G, z, labels=torch.full((4,), 3)))
    half = torch.zeros(8)
    half[[3, 5]] = .5
    assert generate(OneClass(G, half), z).shape == (4, 3, 32, 32)
    assert isinstance(whole.discriminator(), ProjectionDiscriminator)


def test_the_explorer_draws_the_class_that_was_chosen(whole, tmp_path):
    explorer = LatentExplorer(whole, folder=tmp_path)
    assert explorer.label.texts == whole.classes and explorer.label in explorer.children
    explorer.label.value = 5
    z = explorer.scene.latent(explorer.state)
    wanted = generate(whole.generator(), z[None], labels=torch.tensor([5]))[0]
    assert explorer.state.label == 5 and explorer.image.value == png(wanted)
    explorer.table.chosen = 2 * explorer.scene.n + 3  # third class, fourth candidate
    assert (explorer.label.value, explorer.state.label, explorer.state.start) == (2, 2, 3)
    rows = every_class(explorer.scene, explorer.state)
    assert Image.open(io.BytesIO(rows)).size == (8 * 33 + 1, 8 * 33 + 1)
    plain = LatentExplorer("toy-birds-dcgan")
    assert plain.label not in plain.children


def test_the_browser_shows_one_class(whole):
    browser = EpochBrowser(whole)
    browser.label.value = 1 + 0  # "all" comes first
    assert browser.chosen_class == 0 and browser.scene.recordings[0].members(0).tolist() == [0, 1]
    assert browser.grids[0].value == sheet(whole.samples()[:2], 8) and browser.latent == 0
    browser.grids[0].chosen = 1
    assert browser.latent == 1
    browser.label.value = 8  # the last class has the last latent
    assert browser.latent == 8 and browser.grids[0].chosen == 0
    browser.label.value = 0
    assert browser.grids[0].chosen == 8 and browser.grids[0].value == sheet(whole.samples(), 8)
    with pytest.raises(InputError, match="none of the fixed latents"): browser.scene.grid(0, 1, 9)


def test_images_with_other_classes_are_not_those_it_was_trained_on(whole, tmp_path):
    run = resume(shutil.copytree(whole.path, tmp_path / "copy"), 3, progress=False)
    assert len(run.history) == 3
    images = load_images("toy-birds", limit=96)
    other = dataclasses.replace(images, classes=[*images.classes[:-1], "magpie"])
    with pytest.raises(InputError, match="magpie"): resume(run, 4, images=other, progress=False)
