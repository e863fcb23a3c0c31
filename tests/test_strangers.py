"""Runs that a stranger spoilt end in a line or work, soon and within 2 GB; `python tests/strangers.py` tries more."""
import ast
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import strangers
from gan_course import export, networks, runfiles, runs
from gan_course.core import InputError
from gan_course.dcgan import build_model

LAST = "checkpoints/last.safetensors"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return strangers.good_run(tmp_path_factory.mktemp("good"))


@pytest.fixture
def run(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "run"))


def change(run, how, epoch="1"):
    """Other tensors in the last checkpoint."""
    tensors = load_file(run / LAST)
    save_file(how(tensors) or tensors, run / LAST, {"epoch": epoch})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each run is used in a fork")
def test_spoilt_runs_end_in_a_line_or_work(good, tmp_path):
    bad = {name: found for name, found in strangers.tried(tmp_path, good, 12) if found}
    assert not bad, bad


def test_a_run_in_which_nothing_is_spoilt_passes_every_use(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    for use in strangers.uses(run).values(): use()


@pytest.mark.parametrize(("place", "value", "message"), [
    (("train", "latent_dim"), 7, "model.latent_dim is 8, but the training was told 7"),
    (("train", "samples"), 9, "samples.n is 4, but the training was told 9"),
    (("samples", "size"), 16, "samples.size is 16, but model.img_size 32"),
    (("samples", "padding"), 2**31 - 1, "samples.padding is 2147483647"),
    (("samples", "n"), 0, "samples.n is 0"),
    (("train", "epochs"), 10**400, "a whole number of 401 digits"),
    (("train", "lr_g"), float("nan"), "no finite number"),
    (("data", "name"), "x" * 5000, "a text of 5,000 characters"),
    (("fid",), {"n_fake": -1}, "fid.n_fake is -1"),
])
def test_parts_of_a_config_agree_and_are_small(run, place, value, message):
    strangers.edit(run, place, value)
    with pytest.raises(InputError, match=message): runs.open_run(run)


def test_a_grid_has_pixels_that_fit(run):
    for part, name in (("train", "samples"), ("samples", "n")): strangers.edit(run, (part, name), 10_000)
    for part, name in (("model", "img_size"), ("samples", "size")): strangers.edit(run, (part, name), 128)
    with pytest.raises(InputError, match="choose fewer samples"): runs.open_run(run)


@pytest.mark.parametrize(("how", "message"), [
    (lambda t: {k: v for k, v in t.items() if not k.endswith(".step")}, "there is no opt_[dg].0.step"),
    (lambda t: t | {"opt_g.0.step": torch.tensor(-1.)}, "opt_g.0.step is -1"),
    (lambda t: t | {"opt_g.0.exp_avg": torch.zeros(3)}, "opt_g.0.exp_avg holds F32 of shape .3,., not floats of"),
    (lambda t: t | {"ema.giant": torch.zeros(3)}, "they have no 'ema.giant'"),
    (lambda t: t | {"giant": torch.zeros(3)}, "no run writes a tensor 'giant'"),
    (lambda t: t | {"G.layers.0.weight": t["G.layers.0.weight"].to(torch.bool)}, "G.layers.0.weight holds BOOL"),
])
def test_a_checkpoint_is_compared_before_it_is_read(run, how, message, monkeypatch):
    change(run, how)
    monkeypatch.setattr(runs, "read_tensors", None)
    monkeypatch.setattr(networks, "build_model", meta_only)
    with pytest.raises(InputError, match=message): runs.open_run(run).generator()


def meta_only(*args, **more):
    assert torch.get_default_device().type == "meta", "networks are built before they are compared"
    return build_model(*args, **more)


def test_weights_without_numbers_are_refused(run):
    change(run, lambda t: t | {"ema.layers.0.weight": t["ema.layers.0.weight"] * torch.nan})
    with pytest.raises(InputError, match="NaN"): runs.open_run(run).generator()


@pytest.mark.parametrize("kind", [torch.int64, torch.float64])
def test_latents_are_floats(run, kind):
    save_file({"latents": torch.zeros(4, 8, dtype=kind)}, run / "latents.safetensors")
    with pytest.raises(InputError, match="finite and float32"): _ = runs.open_run(run).latents


def test_an_epoch_is_a_number_of_nine_digits(run):
    change(run, lambda t: t, "9" * 6000)
    for name in ("samples/epoch-" + "9" * 200 + ".png", "checkpoints/epoch-" + "9" * 200 + ".safetensors"):
        (run / name).write_bytes(b"")
    assert runs.open_run(run).epochs == [0, 1] and runs.open_run(run).epoch_of("last") == 1


@pytest.mark.parametrize("text", ["epoch\n2\n", "epoch\n1\n1\n", "epoch" + "," * 2000 + "\n1\n", "epoch,fid\n1,1e200\n",
                                  "epoch\n" + "\n".join(map(str, range(1, 100_002)))])
def test_a_history_counts_its_epochs(run, text):
    (run / "history.csv").write_text(text)
    with pytest.raises(InputError, match="no history of a run"): runs.read_history(run / "history.csv")


def test_a_fid_that_is_no_number_is_not_the_best(run):
    (run / "history.csv").write_text("epoch,fid\n1,nan\n")
    assert runs.open_run(run).best_epoch is None


def test_links_are_refused_at_any_depth(run, tmp_path):
    (run / "events/a/b").mkdir(parents=True)
    (run / "events/a/b/c").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out of the run"): runs.open_run(run)


def test_names_stay_text_in_exported_code(run, tmp_path):
    """A name in a stranger's config that closes the docstring would be executed by whoever imports generator.py."""
    strangers.edit(run, ("data", "name"), 'x"""\nimport os\nos.abort()\n"""\\')
    folder = export.export_run(run, tmp_path / "out", onnx=False)
    imported = [node for node in ast.walk(ast.parse((folder / "generator.py").read_text(encoding="utf-8")))
                if isinstance(node, ast.Import) and node.names[0].name == "os"]
    assert not imported


def test_messages_move_no_cursor(run):
    strangers.edit(run, ("data", "name"), strangers.MARK)
    strangers.edit(run, ("train", "data"), None)
    with pytest.raises(InputError, match="given in memory") as error: runs.open_run(run).images()
    assert str(error.value).isprintable() and repr(runs.open_run(run)).isprintable()


def test_packing_overwrites_nothing(good, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_text("")
    with pytest.raises(InputError, match="is there already"): runs.pack_run(good, tmp_path / "there")
    with pytest.raises(InputError, match="no samples of epoch 7"): runs.pack_run(good, tmp_path / "new", [7])
    assert os.listdir(tmp_path / "there") == ["file"] and not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["\0", "\ud800"])
def test_a_text_that_is_no_path(good, path):
    for use in (runs.open_run, runfiles.as_folder, lambda p: runs.pack_run(good, p)):
        with pytest.raises(InputError, match="cannot be the name of a folder"): use(path)


def test_what_is_written_can_be_read(good):
    info = json.loads((good / "config.json").read_text(encoding="utf-8"))
    assert runfiles.check_info(info) is info and info["samples"]["size"] == info["model"]["img_size"]
