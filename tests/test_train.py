"""Guards of the loop: the steps, exact resume, what a run leaves on the disk, bad input."""
import copy
import dataclasses
import json
import shutil

import pytest
import torch
from PIL import Image

from gan_course import runs
from gan_course import training as T
from gan_course.core import ImageSet, InputError, seeded
from gan_course.data import load_images
from gan_course.dcgan import build_model
from gan_course.evaluation import evaluate
from gan_course.losses import LOSSES, get_loss
from gan_course.settings import check_config, fingerprint

# flips, EMA and mixed precision on: what resume has to get right to the bit
TINY = T.TrainConfig(data="toy-birds", limit=200, base_channels=4, batch_size=32, epochs=3, ema=.9, samples=9,
                     precision="bf16", keep_every=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    return T.train(TINY, tmp_path_factory.mktemp("runs") / "whole", progress=False)


def stop_at(epoch):
    def hook(training, row):
        if training.epoch == epoch: raise KeyboardInterrupt
    return hook


def tensors(run, name="last"):
    return T.read_tensors(run.path / f"checkpoints/{name}.safetensors")


def rows(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.history]


def noise(n, size=32):
    "Images that no name can bring back."
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=seeded(0))


def assert_same(run, other):
    a, b = tensors(run), tensors(other)
    assert a.keys() == b.keys() and [k for k in a if not torch.equal(a[k], b[k])] == []
    assert rows(run) == rows(other)
    assert all(torch.equal(run.samples(e), other.samples(e)) for e in run.epochs) and run.epochs == other.epochs


@pytest.fixture
def players():
    torch.manual_seed(0)
    G, D = build_model("dcgan", base_channels=4)
    z = torch.randn(16, 100, generator=seeded(1))
    return G, D, z, torch.rand(16, 3, 32, 32, generator=seeded(2)) * 2 - 1


def test_g_step_has_the_gradient_through_d_in_train_mode(players):
    G, D, z, _ = players
    expected = torch.autograd.grad(get_loss("bce").g(copy.deepcopy(D).train()(G(z)), None), list(G.parameters()))
    T.g_step(D, torch.optim.SGD(G.parameters(), lr=0.), G(z), get_loss("bce"))
    for p, e in zip(G.parameters(), expected, strict=True): assert torch.allclose(p.grad, e, atol=1e-7)
    assert D.training and all(p.requires_grad and p.grad is None for p in D.parameters())


def test_d_step_moves_d_and_leaves_g(players):
    G, D, z, real = players
    before = copy.deepcopy(D.state_dict())
    T.d_step(D, torch.optim.SGD(D.parameters(), lr=.1), real, G(z), get_loss("hinge"))
    assert all(p.grad is None for p in G.parameters())
    assert not torch.equal(D.state_dict()["features.0.weight"], before["features.0.weight"])
    # its own step moves its statistics
    assert not torch.equal(D.state_dict()["features.3.running_mean"], before["features.3.running_mean"])


def test_accuracy_counts_a_tie_as_fake():
    class Blind(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(()))
        def forward(self, x): return x.flatten(1).sum(1) * 0 + self.w
    D, images = Blind(), torch.zeros(8, 3, 4, 4)
    stats = T.d_step(D, torch.optim.SGD(D.parameters(), lr=0.), images, images, get_loss("bce"))
    assert stats["d_acc_real"] == 0 and stats["d_acc_fake"] == 1


def gradients_of(network, value):
    return torch.autograd.grad(value, list(network.parameters()))


def test_the_d_step_goes_down_both_losses(players):
    G, D, z, real = players
    fake, loss = G(z).detach(), get_loss("bce")
    expected = gradients_of(D, sum(loss.d(D(real), D(fake))))
    T.d_step(D, torch.optim.SGD(D.parameters(), lr=0.), real, fake, loss)
    assert all(torch.allclose(p.grad, e, atol=1e-7) for p, e in zip(D.parameters(), expected, strict=True))


def test_real_and_fake_have_statistics_of_their_own(players):
    G, D, z, real = players
    seen = []
    D.register_forward_pre_hook(lambda module, x: seen.append(len(x[0])))
    T.d_step(D, torch.optim.SGD(D.parameters(), lr=0.), real, G(z), get_loss("bce"))
    assert seen == [16, 16]


def test_d_sees_real_and_fake_through_the_same_view_in_both_steps(players):
    G, D, z, real = players
    seen, fake = [], G(z)
    D.register_forward_pre_hook(lambda module, x: seen.append(x[0]))
    def penalty(a, b): return seen.extend((a, b)) or 0.
    T.d_step(D, torch.optim.SGD(D.parameters(), lr=0.), real, fake, get_loss("bce"), penalty, view=torch.neg)
    T.g_step(D, torch.optim.SGD(G.parameters(), lr=0.), fake, get_loss("rpgan"), real, view=torch.neg)
    for x, y in zip(seen, (real, fake, real, fake, real, fake), strict=True): assert torch.equal(x, -y)
    assert all(p.grad.abs().sum() > 0 for p in G.parameters())  # it passes through


def test_a_run_augments_every_batch_with_numbers_of_its_own(tmp_path, monkeypatch):
    drawn, shapes = [], []
    def augment(x, u, policy):
        drawn.append(u)
        shapes.append((x.shape, policy))
        return x
    monkeypatch.setattr(T, "augment", augment)
    run = T.train(dataclasses.replace(TINY, epochs=1, augment="cutout"), tmp_path / "r", progress=False)
    steps = run.history[-1]["images"] // TINY.batch_size
    # real, fake, fake for G, and so few steps that each has a held-out batch
    assert len(drawn) == 4 * steps and set(shapes) == {((TINY.batch_size, 3, 32, 32), "cutout")}
    assert len({u.sum().item() for u in drawn}) == len(drawn) and all(((0 <= u) & (u < 1)).all() for u in drawn)


def test_held_out_batches_are_drawn_anew_from_all_over_the_set(tmp_path, monkeypatch):
    # sorted, as many sets are by class
    seen, images = [], torch.arange(64, dtype=torch.uint8)[:, None, None, None].expand(64, 3, 32, 32)
    def look(D, real, threshold):
        seen.append((real[:, 0, 0, 0] * 127.5 + 127.5).round())
        return torch.tensor(0.)
    monkeypatch.setattr(T, "accuracy_on_real", look)
    held_out = ImageSet(images, name="toy-birds", split="test")
    T.train(dataclasses.replace(TINY, epochs=2), tmp_path / "r", test_images=held_out, progress=False)
    assert all(x.unique().numel() == TINY.batch_size and x.max() - x.min() >= TINY.batch_size for x in seen)
    assert len(torch.stack(seen).sort(1).values.unique(dim=0)) == 4  # two batches an epoch


def test_each_step_begins_without_gradients(players):
    G, D, z, real = players
    opt_d, opt_g = (torch.optim.SGD(net.parameters(), lr=0.) for net in (D, G))
    def steps():
        fake = G(z)
        T.d_step(D, opt_d, real, fake, get_loss("bce"))
        T.g_step(D, opt_g, fake, get_loss("bce"))
        return [p.grad.clone() for net in (D, G) for p in net.parameters()]
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(steps(), steps(), strict=True))


def test_accuracy_on_real_leaves_d_as_it_was(players):
    _, D, _, real = players
    before = copy.deepcopy(D.state_dict())
    T.accuracy_on_real(D, real)
    assert D.training and all(torch.equal(v, before[k]) for k, v in D.state_dict().items())


def test_generate_restores_the_mode_and_moves_nothing(players):
    G, _, z, _ = players
    before = copy.deepcopy(G.train().state_dict())
    T.generate(G, z, batch_size=5)
    assert G.training and all(torch.equal(v, before[k]) for k, v in G.state_dict().items())


@pytest.mark.parametrize("stopped_in", [1, 2, 3])
def test_resume_is_exact(whole, tmp_path, stopped_in):
    with pytest.raises(T.Stopped): T.train(TINY, tmp_path / "r", on_epoch_end=[stop_at(stopped_in)], progress=False)
    assert len(T.open_run(tmp_path / "r").history) == stopped_in - 1
    assert_same(T.resume(tmp_path / "r", progress=False), whole)


def test_more_epochs_later_are_the_same_run(whole, tmp_path):
    T.train(dataclasses.replace(TINY, epochs=1), tmp_path / "r", progress=False)
    longer = T.resume(tmp_path / "r", epochs=3, progress=False)
    assert_same(longer, whole)
    assert longer.config == whole.config


@pytest.mark.parametrize("change", [
    dict(loss="wgan-gp", d_steps=2),
    dict(loss="rpgan", r1=1., r2=1.),
    dict(head="gap", ema=0.),
    dict(augment="color,cutout", model="dcgan-sn"),
], ids=str)
def test_resume_is_exact_with_other_settings(tmp_path, change):
    config = dataclasses.replace(TINY, epochs=2, **change)
    run = T.train(config, tmp_path / "a", progress=False)
    with pytest.raises(T.Stopped): T.train(config, tmp_path / "b", on_epoch_end=[stop_at(2)], progress=False)
    assert_same(T.resume(tmp_path / "b", progress=False), run)


@pytest.fixture
def crashed(tmp_path, monkeypatch):
    """A run that died while it wrote the checkpoint of epoch 2; history and events have that epoch already."""
    save = T.save_file

    def crash(content, path, metadata=None):
        if metadata and metadata.get("epoch") == "2":
            path.write_bytes(b"half a file")
            raise OSError(28, "No space left on device")
        save(content, path, metadata)

    monkeypatch.setattr(T, "save_file", crash)
    with pytest.raises(InputError, match="No space left"): T.train(TINY, tmp_path / "r", progress=False)
    monkeypatch.undo()
    return T.open_run(tmp_path / "r")


def test_a_run_is_begun_continued_or_opened(tmp_path):
    auto = dataclasses.replace(TINY, precision="auto")
    first = T.train_or_open(auto, tmp_path / "r", progress=False)
    begun = first.history
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(T, "_load_data", None)  # to open it needs no images
        assert T.train_or_open(auto, first.path).history == begun
    longer = T.train_or_open(dataclasses.replace(auto, epochs=4), first.path, progress=False)
    assert longer.history[:3] == begun and len(longer.history) == longer.config.epochs == 4
    with pytest.raises(InputError, match="another seed"): T.train_or_open(dataclasses.replace(auto, seed=1), first.path)


def test_a_crash_while_a_checkpoint_is_written_loses_nothing(whole, crashed):
    assert len(runs.read_history(crashed.path / "history.csv")) == 2 and len(crashed.history) == 1
    assert not list(crashed.path.rglob("*.part"))
    assert_same(T.resume(crashed.path, progress=False), whole)


def test_events_carry_the_numbers_of_the_history(crashed, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = T.resume(crashed.path, progress=False)
    for opened in (run, runs.pack_run(run, tmp_path / "packed")):
        events = EventAccumulator(str(opened.path / "events"))
        events.Reload()
        for tag in ("d_loss_real", "d_loss_fake", "g_loss", "d_acc_real", "d_acc_real_test", "d_acc_fake"):
            seen = events.Scalars(tag)
            assert [e.step for e in seen] == [1, 2, 3]  # each epoch once, though epoch 2 was written twice
            assert [e.value for e in seen] == pytest.approx([row[tag] for row in run.history], rel=1e-6)


def test_every_epoch_has_an_order_of_its_own_and_the_average_slows_down(tmp_path, monkeypatch):
    orders, decays = [], []
    batch, update = T.real_batch, T.ema_update
    def noted_batch(images, i, generator, flip, *rest):
        if flip: orders.append(i)
        return batch(images, i, generator, flip, *rest)
    def noted_update(ema, G, decay):
        decays.append(decay)
        update(ema, G, decay)
    monkeypatch.setattr(T, "real_batch", noted_batch)
    monkeypatch.setattr(T, "ema_update", noted_update)
    T.train(dataclasses.replace(TINY, ema=.99, epochs=2), tmp_path / "r", progress=False)
    first, second = torch.cat(orders[:6]), torch.cat(orders[6:])
    assert len(first.unique()) == len(second.unique()) == 192 and not torch.equal(first, second)
    assert decays == [T.ema_decay(.99, n) for n in range(12)]


def test_hooks_fill_the_row_and_the_best_is_kept(tmp_path):
    fids = {1: 50., 2: 40., 3: 45.}
    run = T.train(TINY, tmp_path / "r", on_epoch_end=[lambda t, row: {"fid": fids[t.epoch]}], progress=False)
    assert [row["fid"] for row in run.history] == [50., 40., 45.]
    best, second = tensors(run, "best"), tensors(run, "epoch-0002")
    assert all(torch.equal(v, second[k]) for k, v in best.items())
    assert torch.equal(run.generator().layers[0].weight, run.generator(2).layers[0].weight)  # the best is the default


def test_a_best_that_was_written_before_the_crash_knows_its_epoch(tmp_path, monkeypatch):
    def save(content, path, *rest, tell=T.save_file):
        if "last" in path.name and rest == ({"epoch": "2"},): raise OSError("no space left")
        tell(content, path, *rest)
    monkeypatch.setattr(T, "save_file", save)
    def falling(training, row): return {"fid": 50. - training.epoch}
    with pytest.raises(InputError, match="no space left"):
        T.train(dataclasses.replace(TINY, keep_every=0), tmp_path / "r", on_epoch_end=[falling], progress=False)
    run = T.open_run(tmp_path / "r")
    assert [row["epoch"] for row in run.history] == [1] and run.best_epoch == 1  # what counts
    # what the files are
    assert run.epoch_of("best") == run.epoch_of() == 2 and run.epoch_of("last") == 1 and run.kept == [1, 2]


def test_a_run_on_images_of_ones_own_goes_on_with_these_only(tmp_path):
    own = ImageSet(noise(192), name="noise")
    config = dataclasses.replace(TINY, epochs=1, limit=192)
    run = T.train(config, tmp_path / "r", images=own, progress=False)
    told = dict(name="noise", split="train", n=192, shape=[3, 32, 32], fingerprint=fingerprint(own.images))
    assert run.config.data is None and run.info["data"] == told
    for use in (run.images, lambda: T.resume(run.path, 2, progress=False)):
        with pytest.raises(InputError, match=r"192 images given in memory \(noise\).*images=\.\.\."): use()
    other = load_images("toy-birds", limit=192)
    with pytest.raises(InputError, match="trained on 192 images of noise.*these are 192 images of toy-birds"):
        T.resume(run.path, 2, images=other, progress=False)
    assert len(T.resume(run.path, 2, images=own, progress=False).history) == 2
    again = T.train_or_open(dataclasses.replace(config, epochs=2, precision="auto"), run.path, images=own)
    assert len(again.history) == 2


def test_a_run_from_before_images_were_noted_goes_on_with_these_only(tmp_path):
    """Earlier versions wrote the default data set into the config of a run on images that were given."""
    own = ImageSet(noise(192), name="noise")
    run = T.train(dataclasses.replace(TINY, epochs=1, limit=192), tmp_path / "r", images=own, progress=False)
    T.write_json(run.path / "config.json", run.info | dict(train=run.info["train"] | dict(data="toy-birds")))
    with pytest.raises(InputError, match="trained on 192 images of noise.*these are 192 images of toy-birds"):
        T.resume(run.path, 2, progress=False)
    with pytest.raises(InputError, match="trained on 192 images of noise"):
        evaluate(run.path, n_fake=50, extractor="small", progress=False)
    assert len(T.train_or_open(dataclasses.replace(TINY, epochs=2, limit=192), run.path, images=own,
                               progress=False).history) == 2


def test_a_tensor_trains_and_goes_on(tmp_path):
    config, pixels = dataclasses.replace(TINY, epochs=1), noise(64)
    run = T.train(config, tmp_path / "r", images=pixels, test_images=noise(40), progress=False)
    assert run.info["data"]["name"] == "given images" and run.history[0]["d_acc_real_test"] is not None
    assert repr(run) == "Run r: dcgan on given images, 32×32, 1 of 1 epochs"
    assert len(T.resume(run, 2, images=pixels, progress=False).history) == 2
    with pytest.raises(InputError, match="trained on 64 images.*these are 65"):
        T.resume(run, 3, images=noise(65), progress=False)
    with pytest.raises(InputError, match="trained on 64 images of given images"):
        T.resume(run, 3, images=load_images("toy-birds", limit=64), progress=False)
    assert T.settle(config, pixels).data is None and config.data == "toy-birds"


@pytest.mark.parametrize(("images", "message"), [
    (torch.zeros(64, 3, 32, 32), "images are torch.float32 .*`to_uint8`"),
    (torch.zeros(64, 32, 32, dtype=torch.uint8), r"shape \(64, 32, 32\)"),
    (torch.zeros(64, 3, 32, 48, dtype=torch.uint8), "square images"),
    (torch.zeros(8, 3, 32, 32, dtype=torch.uint8), "more than the 8 images of given images"),
    ([1, 2], "images has to be ImageSet or a tensor or an array"),
], ids=["float", "no channels", "wide", "few", "list"])
def test_images_that_cannot_be_trained_on_are_named(tmp_path, images, message):
    with pytest.raises(InputError, match=message) as error: T.train(TINY, tmp_path / "r", images=images, progress=False)
    assert "\n" not in str(error.value) and not (tmp_path / "r").exists()


def test_held_out_images_of_another_size_are_named(tmp_path):
    with pytest.raises(InputError, match=r"\(3, 32, 32\), the held-out ones \(3, 64, 64\)"):
        T.train(TINY, tmp_path / "r", images=noise(64), test_images=noise(64, 64), progress=False)
    with pytest.raises(InputError, match="data is None"):
        T.train(dataclasses.replace(TINY, data=None), tmp_path / "r", progress=False)


@pytest.mark.parametrize("fid", [
    None, "x", {"n_fake": "a", "n_real": 1, "split": "s", "extractor": "e"}, {"extractor": 3}])
def test_a_protocol_of_wrong_kinds_is_named(whole, tmp_path, fid):
    place = runs.pack_run(whole, tmp_path / "p").path
    T.write_json(place / "config.json", T.open_run(place).info | dict(fid=fid))
    with pytest.raises(InputError, match=r"fid(\.\w+)? is"): T.open_run(place)


@pytest.mark.parametrize(("fids", "files"), [
    ({1: 50., 3: 45.}, {"last", "epoch-0001", "epoch-0002"}),
    ({2: 40., 3: 45.}, {"last", "best", "epoch-0001"}),
])
def test_what_is_the_same_epoch_is_packed_once_and_found_by_each_name(tmp_path, fids, files):
    config = dataclasses.replace(TINY, epochs=3, keep_every=1)
    def measured(training, row): return {"fid": fids.get(training.epoch)}
    run = T.train(config, tmp_path / "r", on_epoch_end=[measured], progress=False)
    packed = runs.pack_run(run, tmp_path / "p")
    assert {p.stem for p in packed.path.glob("checkpoints/*")} == files and packed.kept == [1, 2, 3]
    def weights(which): return packed.generator(which).layers[0].weight
    best = min(fids, key=fids.get)
    assert packed.best_epoch == best
    assert torch.equal(weights("best"), weights(best)) and torch.equal(weights("last"), weights(3))
    assert torch.equal(weights(None), weights(best)) and len({weights(e).sum().item() for e in (1, 2, 3)}) == 3
    packed.discriminator("best"), packed.discriminator(3)


def test_the_best_is_written_before_the_epoch_counts(tmp_path, monkeypatch):
    order, save = [], T.save_file
    def noted(content, path, *rest):
        order.append(path.name.split(".")[1])
        save(content, path, *rest)
    for module in (runs, T): monkeypatch.setattr(module, "save_file", noted)
    hooks = [lambda training, row: {"fid": 1.}]
    T.train(dataclasses.replace(TINY, epochs=1), tmp_path / "r", on_epoch_end=hooks, progress=False)
    # killed before the last, the epoch is done again
    assert order == ["latents", "last", "best", "epoch-0001", "last"]


def test_the_average_differs_from_the_generator_and_a_run_without_ema_has_none(whole, tmp_path):
    t = tensors(whole)
    assert not torch.equal(t["ema.layers.0.weight"], t["G.layers.0.weight"])
    t = tensors(T.train(dataclasses.replace(TINY, ema=0., epochs=1), tmp_path / "r", progress=False))
    assert torch.equal(t["ema.layers.0.weight"], t["G.layers.0.weight"])


def test_a_run_can_be_copied_anywhere(whole, tmp_path):
    moved = T.open_run(shutil.copytree(whole.path, tmp_path / "elsewhere"))
    assert torch.equal(moved.samples(3), whole.samples(3))
    assert str(whole.path.parent) not in (moved.path / "config.json").read_text()


def test_the_samples_are_those_of_the_fixed_latents(whole):
    for epoch in (1, 3):
        again = T.generate(whole.generator(epoch), whole.latents)
        assert (again.int() - whole.samples(epoch).int()).abs().max() <= 3  # another memory layout, and bf16


def test_nan_stops_the_run_and_keeps_the_last_epoch(tmp_path):
    def poison(training, row):
        with torch.no_grad(): next(training.G.parameters()).fill_(float("nan"))
    with pytest.raises(T.Diverged, match="epoch 2|last steps"):
        T.train(TINY, tmp_path / "r", on_epoch_end=[poison], progress=False)
    run = T.open_run(tmp_path / "r")
    assert len(run.history) == 1 and run.samples(1).shape == (9, 3, 32, 32)


def test_a_grey_data_set_and_a_folder_train(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path / "root"))  # decoded folders are kept there
    (tmp_path / "pictures").mkdir()
    for i in range(40): Image.effect_noise((40, 50), 60 + i).save(tmp_path / f"pictures/{i}.png")
    config = dataclasses.replace(TINY, data=str(tmp_path / "pictures"), size=32, limit=None, batch_size=16, epochs=1)
    with pytest.raises(InputError, match="32, 64, 128 pixels, not 48"):
        T.train(dataclasses.replace(config, size=48), tmp_path / "x", progress=False)
    assert T.train(config, tmp_path / "run-of-folder", progress=False).history[0]["d_acc_real_test"] is None
    grey = dataclasses.replace(load_images("toy-birds", limit=64), masks=None)
    grey.images = grey.images[:, :1]
    run = T.train(dataclasses.replace(TINY, epochs=1), tmp_path / "grey", images=grey, progress=False)
    assert run.samples().shape == (9, 1, 32, 32)


@pytest.mark.parametrize("change, message", [
    (dict(data="toy-bird"), "did you mean 'toy-birds'"),
    (dict(model="dcgn"), "did you mean 'dcgan'"),
    (dict(loss="hing"), "did you mean 'hinge'"),
    (dict(head="gab"), "did you mean 'gap'"),
    (dict(precision="fp16"), "precision"),
    (dict(size=48), "32 or 64"),
    (dict(batch_size=1000), "smaller batch_size"),
    (dict(epochs=-1), "at least 1"),
    (dict(augment="colour,cutout"), "did you mean 'color'"),
    (dict(augment="color,"), "there is no augmentation ''"),
    (dict(lr_g=float("nan")), "lr_g"),
    (dict(lr_g="1e-3"), "lr_g has to be a number"),
    (dict(epochs=True), "epochs has to be a whole number, not True"),
    (dict(samples=10**9), "samples has to be at most 10,000"),
    (dict(base_channels=10**9), "base_channels has to be at least 1 and at most 1,024"),
    (dict(base_channels=10**30), "base_channels has to be a number of 64 bits"),
    (dict(data="./nowhere/at/all"), "nowhere"),
], ids=str)
def test_bad_input_is_named(tmp_path, change, message):
    with pytest.raises(InputError, match=message) as error:
        T.train(dataclasses.replace(TINY, **change), tmp_path / "r", progress=False)
    assert "\n" not in str(error.value) and not (tmp_path / "r").exists()  # one line, and no folder left behind


def test_an_existing_folder_is_not_overwritten(whole):
    before = (whole.path / "config.json").read_text()
    with pytest.raises(InputError, match="resume"): T.train(TINY, whole.path, progress=False)
    assert (whole.path / "config.json").read_text() == before


def test_what_is_no_run_is_named(whole, tmp_path):
    for i, (make, message) in enumerate([
        (lambda p: None, "no config.json"),
        (lambda p: (p / "config.json").write_text("{"), "cannot be read"),
        (lambda p: (p / "config.json").write_text('{"format": 1}'), "cannot be read"),
        (lambda p: (p / "config.json").write_text(json.dumps(whole.info | dict(format=2))), "format 2"),
    ]):
        folder = tmp_path / str(i)
        folder.mkdir()
        make(folder)
        with pytest.raises(InputError, match=message): T.open_run(folder)


def test_foreign_and_cut_checkpoints_are_named(whole, tmp_path):
    run = T.open_run(shutil.copytree(whole.path, tmp_path / "r"))
    last = run.path / "checkpoints/last.safetensors"
    last.write_bytes(last.read_bytes()[:2000])
    for use in (run.generator, lambda: T.resume(run.path, epochs=4, progress=False)):
        with pytest.raises(InputError, match="cannot be read as safetensors"): use()
    T.save_file({"ema.layers.0.weight": torch.zeros(3)}, last)
    with pytest.raises(InputError, match="does not fit"): run.generator()


@pytest.mark.parametrize("change, message", [
    (lambda t: ({k: v for k, v in t.items() if not k.startswith("opt_g")}, {"epoch": "3"}), "no state of opt_g"),
    (lambda t: (t, None), "after which epoch"),
    (lambda t: (t, {"epoch": "-1"}), "after which epoch"),
    (lambda t: (t | {"opt_d.77.exp_avg": torch.zeros(3)}, {"epoch": "3"}), "does not fit"),
    (lambda t: (t | {"opt_d.0.exp_avg": torch.zeros(3)}, {"epoch": "3"}), "does not fit"),
    (lambda t: (t | {"opt_d.x": torch.zeros(3)}, {"epoch": "3"}), "does not fit"),
])
def test_a_foreign_checkpoint_is_not_resumed(whole, tmp_path, change, message):
    run = T.open_run(shutil.copytree(whole.path, tmp_path / "r"))
    content, metadata = change(tensors(whole))
    T.save_file(content, run.path / "checkpoints/last.safetensors", metadata)
    with pytest.raises(InputError, match=message): T.resume(run.path, epochs=4, progress=False)
    assert rows(run) == rows(whole)  # nothing lost


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains(tmp_path, name):
    run = T.train(dataclasses.replace(TINY, loss=name, epochs=1, precision="float32"), tmp_path / "r", progress=False)
    assert run.history[0]["g_loss"] is not None


def test_pack_keeps_what_readers_need(whole, tmp_path):
    packed = runs.pack_run(whole, tmp_path / "p", epochs=[0, 3])
    assert packed.epochs == [0, 3] and rows(packed) == rows(whole)
    assert packed.discriminator()(torch.zeros(2, 3, 32, 32)).shape == (2,)
    with pytest.raises(InputError, match="packed"): T.resume(packed.path)
    # not a kept epoch's D, not the G that was trained
    for wanted in (lambda: packed.discriminator(1), lambda: packed.generator(ema=False)):
        with pytest.raises(InputError, match="a packed run keeps"): wanted()
    kept = whole.generator(1).state_dict()
    for k, v in packed.generator(1).state_dict().items():
        assert torch.equal(v, kept[k].half().to(v.dtype) if v.is_floating_point() else kept[k])


def test_a_run_knows_its_images(whole, tmp_path):
    assert torch.equal(whole.images().images, load_images("toy-birds", limit=200).images) and whole.img_size == 32
    assert len(whole.images(limit=1000)) == 200 and len(whole.images(limit=50)) == 50  # never more than it saw
    assert whole.images("test").split == "test" and len(whole.images("test")) == 2000
    other = T.open_run(shutil.copytree(whole.path, tmp_path / "r"))
    other.info["data"]["name"] = "noise"
    for how in ({}, dict(limit=10), dict(split="test")):
        with pytest.raises(InputError, match="was trained on (200 images of )?noise"): other.images(**how)
    other.config.data = None
    with pytest.raises(InputError, match="given in memory"): other.images()


def test_a_run_is_opened_by_whatever_names_it(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(whole.path.parent))
    monkeypatch.chdir(tmp_path)
    assert T.open_run(whole) is whole
    for what in (whole.path, str(whole.path), "~/whole"): assert T.open_run(what).path == whole.path
    assert T.open_run("toy-birds-dcgan").path == runs.ready_folder() / "toy-birds-dcgan"
    shutil.copytree(whole.path, "toy-birds-dcgan")
    assert len(T.open_run("toy-birds-dcgan").history) == 3  # a folder of that name comes first
    for what, message in (
            (3, "what has to be Run .*not 3"),
            (None, "what has to be Run .*not None"),
            ("toybirds-dcgan", "did you mean 'toy-birds-dcgan'"),
            ("./toybirds-dcgan", "there is no folder"),
            ("~/toy", "there is no folder")):
        with pytest.raises(InputError, match=message): T.open_run(what)


def test_a_budget_of_time_ends_at_a_complete_epoch(tmp_path, monkeypatch):
    now = iter(range(0, 10**6, 5))  # each look at the clock is five seconds after the last
    monkeypatch.setattr(T.time, "perf_counter", lambda: float(next(now)))
    measured = []
    def hook(t, row): measured.append((row["epoch"], t.config.epochs))
    run = T.train(dataclasses.replace(TINY, epochs=50), tmp_path / "r", progress=False, on_epoch_end=[hook], seconds=40)
    n = len(run.history)
    assert 1 < n < 10 and run.config.epochs == n == measured[-1][1]  # a hook can tell that this is the last epoch
    assert all(planned == 50 for _, planned in measured[:-1])
    assert len(T.resume(run, n + 1, progress=False, seconds=1).history) == n + 1  # one epoch is always done


@pytest.mark.parametrize("name, value, message", [
    ("epochs", "3", "epochs has to be int"), ("lr_g", float("nan"), "lr_g has to be at least 0"),
    ("gp", float("inf"), "gp has to be at least 0"), ("flip", 1, "flip has to be bool")])
def test_settings_that_are_changed_later_are_checked_too(name, value, message):
    config = T.TrainConfig()
    setattr(config, name, value)
    with pytest.raises(InputError, match=message): check_config(config)
