"""Networks and steps of one's own: what they must have, what is written of them, and that no name is ever imported."""
import copy
import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gan_course import dcgan, networks, runs
from gan_course import training as T
from gan_course.core import InputError, seeded
from gan_course.evaluation import evaluate
from gan_course.steps import d_step, ema_update, g_step

TINY = T.TrainConfig(data="toy-birds", limit=100, base_channels=4, batch_size=32, epochs=2, ema=.9, samples=9,
                     precision="float32")


class Painter(nn.Sequential):
    latent_dim = 8

    def __init__(self, *end):
        super().__init__(nn.Linear(8, 3 * 32 * 32), *(end or (nn.Tanh(),)), nn.Unflatten(1, (3, 32, 32)))


class Critic(nn.Sequential):
    def __init__(self, *end):
        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, 4), nn.LeakyReLU(.2), nn.Linear(4, 1),
                         *(end or (nn.Flatten(0),)))


def pair():
    torch.manual_seed(0)
    return dict(G=Painter(), D=Critic())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return T.train(TINY, tmp_path_factory.mktemp("runs") / "own", **pair(), progress=False)


def weights(run):
    return T.read_tensors(run.path / "checkpoints/last.safetensors")


def test_networks_of_ones_own_train_and_theirs_stay_as_they_were(whole, tmp_path):
    given = pair()
    run = T.train(TINY, tmp_path / "r", **given, progress=False)
    for name, net in given.items():
        fresh = pair()[name].state_dict()
        assert all(torch.equal(v, fresh[k]) for k, v in net.state_dict().items()) and net.training
        assert not torch.equal(weights(run)[f"{name}.{list(fresh)[0]}"], list(fresh.values())[0])
    assert all(torch.equal(v, weights(whole)[k]) for k, v in weights(run).items())
    info = json.loads((run.path / "config.json").read_text())
    assert info["own_networks"] is True and info["train"]["model"] == "Painter and Critic"
    assert info["model"]["latent_dim"] == info["train"]["latent_dim"] == 8 and run.latents.shape == (9, 8)


def test_precision_is_chosen_for_networks_of_ones_own(tmp_path):
    run = T.train(dataclasses.replace(TINY, precision="auto", epochs=1), tmp_path / "r", **pair(), progress=False)
    assert run.config.precision in ("float32", "bf16")
    with pytest.raises(InputError, match="has no latent_dim"):
        T.choose_precision(nn.Linear(2, 2), Critic(), 4, torch.device("cpu"))


def test_they_are_asked_for_again(whole, tmp_path):
    run = T.open_run(whole.path)
    for use in (run.generator, run.discriminator, lambda: T.resume(whole.path, 3, progress=False),
                lambda: evaluate(run, n_fake=20, extractor="small", progress=False)):
        with pytest.raises(InputError, match=r"give them again, open_run\(.*G=\.\.\., D=\.\.\.\)") as error: use()
        assert "\n" not in str(error.value)
    assert run.samples().shape == (9, 3, 32, 32) and len(run.history) == 2  # what needs no network
    with pytest.raises(InputError, match="D=..."): T.open_run(whole.path, G=Painter()).discriminator()
    known = T.open_run(whole.path, **pair())
    again = T.generate(known.generator(), run.latents)
    assert (again.int() - run.samples().int()).abs().max() <= 1
    assert known.discriminator()(torch.zeros(2, 3, 32, 32)).shape == (2,)
    assert evaluate(known, n_fake=20, extractor="small", progress=False).values
    assert T.open_run(run, **pair()).generator() is not None  # a run, opened again
    with pytest.raises(InputError, match="does not fit"): T.open_run(whole.path, G=Critic(), D=Critic()).generator()


def test_resume_is_exact(whole, tmp_path):
    T.train(dataclasses.replace(TINY, epochs=1), tmp_path / "r", **pair(), progress=False)
    longer = T.resume(tmp_path / "r", 2, **pair(), progress=False)
    assert all(torch.equal(v, weights(whole)[k]) for k, v in weights(longer).items())
    assert len(T.resume(longer, 3, progress=False).history) == 3  # the run brings its networks along
    done = T.train_or_open(TINY, whole.path, **pair())
    assert done.generator() is not None and len(done.history) == 2
    packed = runs.pack_run(whole, tmp_path / "packed")
    assert packed.generator() is not None
    with pytest.raises(InputError, match="give them again"): T.open_run(packed.path).generator()


class Broken(nn.Module):
    latent_dim = 8

    def __init__(self, forward):
        super().__init__()
        self.layer, self.made = nn.Linear(8, 3 * 32 * 32), forward

    def forward(self, x): return self.made(self.layer(x).view(-1, 3, 32, 32))


class Tied(Critic):
    def __init__(self):
        super().__init__()
        self.again = self[1]
        self.shared = nn.Parameter(self[1].weight.data)


@pytest.mark.parametrize(("G", "D", "message"), [
    (Painter(), None, "give both"),
    (nn.Linear(8, 8), Critic(), "Linear has no latent_dim"),
    (lambda z: z, Critic(), "G has to be a network"),
    (Broken(lambda x: x / 0), Critic(), "no finite"),
    (Broken(lambda x: x.sigmoid() * 255), Critic(), r"images in \[-1,1\] are wanted"),
    (Broken(lambda x: x[:, :1].tanh()), Critic(), r"gives the shape \(2, 1, 32, 32\): \(2, 3, 32, 32\) is wanted"),
    (Broken(lambda x: [x]), Critic(), "gives a list"),
    (Broken(lambda x: x.tanh().detach()), Critic(), "no gradient passes"),
    (Broken(lambda x: x.view(7)), Critic(), "G.z. with z of shape .2, 8. fails: shape"),
    (Painter(), Critic(nn.Identity()), r"D\(x\) .* gives the shape \(2, 1\): \(2,\) is wanted"),
    (Painter(), nn.Flatten(), "D, a Flatten, has no parameters"),
    (Painter(), Tied(), "share their memory"),
    (Painter(), "a discriminator", "D has to be a network"),
], ids=[f"case {i}" for i in range(13)])
def test_what_networks_lack_is_said_in_one_line(tmp_path, G, D, message):
    with pytest.raises(InputError, match=message) as error: T.train(TINY, tmp_path / "r", G=G, D=D, progress=False)
    assert "\n" not in str(error.value) and not (tmp_path / "r").exists()


def test_the_check_moves_nothing():
    given, state = pair(), torch.get_rng_state()
    networks.check_networks(*given.values(), 32, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for net in given.values() for p in net.parameters())


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the current folder that leaves a file when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dcgan, "MODELS", dict(dcgan.MODELS))
    for place in (networks, runs, T):
        if hasattr(place, "MODELS"): monkeypatch.setattr(place, "MODELS", dcgan.MODELS)
    from gan_course import settings

    monkeypatch.setattr(settings, "MODELS", dcgan.MODELS)
    Path("mine_of_test.py").write_text('''
from pathlib import Path
from torch import nn

Path("imported").touch()
number = 3

def pair(img_size, img_channels, latent_dim, base_channels, head):
    n = img_channels * img_size ** 2
    G = nn.Sequential(nn.Linear(latent_dim, n), nn.Tanh(), nn.Unflatten(1, (img_channels, img_size, img_size)))
    G.latent_dim = latent_dim
    return G, nn.Sequential(nn.Flatten(), nn.Linear(n, 1), nn.Flatten(0))

def broken(*shape): raise KeyError("no such width")
''')
    yield "mine_of_test:pair"
    sys.modules.pop("mine_of_test", None)


def test_a_name_is_imported_by_whoever_types_it(module, tmp_path):
    config = dataclasses.replace(TINY, model=module, latent_dim=5)
    with pytest.raises(InputError, match="there is no model"): T.train(config, "r", progress=False)
    assert not Path("imported").exists()
    before = list(sys.path)
    networks.register_named(module)
    assert Path("imported").exists() and sys.path == before
    run = T.train(config, "r", progress=False)
    assert run.info["own_networks"] is True and run.info["model"]["name"] == module and run.generator().latent_dim == 5
    assert len(T.resume("r", 3, progress=False).history) == 3  # still known to this process
    del dcgan.MODELS[module]
    with pytest.raises(InputError, match="give them again"): T.open_run("r").generator()


@pytest.mark.parametrize(("name", "message"), [
    ("mine_of_test", "names no function"),
    ("mine_of_test:", "names no function"),
    ("../mine:pair", "names no function"),
    ("mine_of_test:pear", "module mine_of_test has no function pear"),
    ("mine_of_test:number", "module mine_of_test has no function number"),
    ("nowhere_at_all:pair", "module nowhere_at_all cannot be imported: No module named"),
])
def test_what_cannot_be_imported_is_named(module, name, message):
    with pytest.raises(InputError, match=message): networks.register_named(name)


def test_a_function_that_fails_is_named(module):
    networks.register_named("mine_of_test:broken")
    with pytest.raises(InputError, match="the networks of 'mine_of_test:broken' cannot be made: 'no such width'"):
        T.train(dataclasses.replace(TINY, model="mine_of_test:broken"), "r", progress=False)


@pytest.mark.parametrize("own", [True, False, "yes", None])
def test_a_hostile_config_imports_nothing(whole, module, own, monkeypatch):
    """A stranger's name is a text: whatever is done with the run, the module stays unimported."""
    monkeypatch.syspath_prepend(Path.cwd())
    place = Path("stranger")
    for file in whole.path.rglob("*"):
        if file.is_file():
            (place / file.relative_to(whole.path)).parent.mkdir(parents=True, exist_ok=True)
            (place / file.relative_to(whole.path)).write_bytes(file.read_bytes())
    info = json.loads((place / "config.json").read_text())
    for name in (module, "os:system"):
        info["train"]["model"] = info["model"]["name"] = name
        info["own_networks"] = own
        info["steps"] = {"d_step": name}
        (place / "config.json").write_text(json.dumps(info))
        run = T.open_run(place)
        assert repr(run) and run.samples() is not None and run.latents is not None and run.images() is not None
        for use in (run.generator, run.discriminator, lambda: T.resume(place, 3, progress=False),
                    lambda run=run: evaluate(run, n_fake=20, extractor="small", progress=False)):
            with pytest.raises(InputError): use()
        assert not Path("imported").exists() and "mine_of_test" not in sys.modules
    for steps in ([], "x", 3):
        (place / "config.json").write_text(json.dumps(info | dict(steps=steps)))
        with pytest.raises(InputError, match="steps is"): T.open_run(place)


def test_steps_of_ones_own_are_called_in_every_step(tmp_path):
    calls = []

    def own_d(*args):
        calls.append("D")
        return d_step(*args)

    def own_g(*args):
        calls.append("G")
        return g_step(*args)

    config = dataclasses.replace(TINY, d_steps=2, epochs=1, limit=128)
    run = T.train(config, tmp_path / "r", d_step=own_d, g_step=own_g, progress=False)
    assert "".join(calls) == "DDGDDG"
    plain = T.train(config, tmp_path / "plain", progress=False)
    assert all(torch.equal(v, weights(plain)[k]) for k, v in weights(run).items())
    assert "steps" not in plain.info and set(run.info["steps"]) == {"d_step", "g_step"}
    for given in ({}, dict(d_step=own_d)):
        with pytest.raises(InputError, match=r"was trained with a [dg]_step of its own .*own_[dg]"):
            T.resume(run.path, 2, progress=False, **given)
    calls.clear()
    assert len(T.resume(run.path, 2, d_step=own_d, g_step=own_g, progress=False).history) == 2
    assert "".join(calls) == "DDGDDG"
    T.resume(plain.path, 2, d_step=own_d, progress=False)
    assert T.open_run(plain.path).info["steps"] == {"d_step": T.open_run(run.path).info["steps"]["d_step"]}


def test_steps_may_return_other_numbers(tmp_path):
    def bare(D, opt_d, real, fake, *rest): return dict(d_loss_real=torch.tensor(1.), my_number=torch.tensor(2.))
    run = T.train(dataclasses.replace(TINY, epochs=1), tmp_path / "r", d_step=bare)  # with a bar
    assert run.history[0]["d_loss_real"] == 1 and run.history[0]["d_loss_fake"] is None


def test_latents_are_as_long_as_the_generator_wants(tmp_path):
    z = torch.randn(3, networks.latent_dim_of(Painter()), generator=seeded(0))
    assert T.generate(Painter(), z).shape == (3, 3, 32, 32)
    for wrong in (0, -1, "8", 8.):
        G = Painter()
        G.latent_dim = wrong
        with pytest.raises(InputError, match="no latent_dim"): networks.latent_dim_of(G)


def test_the_average_of_a_generator_with_batch_norm_takes_its_running_statistics_along():
    G = dcgan.build_model("dcgan", base_channels=4)[0].train()
    ema, optimiser = copy.deepcopy(G), torch.optim.Adam(G.parameters(), 1e-2)
    expected = {k: v.clone() for k, v in ema.state_dict().items()}
    for i in range(5):
        optimiser.zero_grad()
        G(torch.randn(16, G.latent_dim, generator=seeded(i))).square().mean().backward()
        optimiser.step()
        ema_update(ema, G, .9)
        for k, v in G.state_dict().items():
            expected[k] = v.clone() if k.endswith("num_batches_tracked") else .9 * expected[k] + .1 * v
    found = ema.state_dict()
    assert sum(k.endswith(("running_mean", "running_var")) for k in found) == 6
    for k, v in found.items(): assert torch.allclose(v, expected[k], atol=1e-6), k
    assert all(v == 5 for k, v in found.items() if k.endswith("num_batches_tracked"))
    ema_update(ema, G, 0)
    z = torch.randn(8, G.latent_dim, generator=seeded(9))
    assert torch.equal(ema.eval()(z), G.eval()(z))
