"""The command line as a person types it: some of it in a process of its own, what needs none by `main`."""
import dataclasses
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import BIN, ROOT, SMALL
from gan_course.cli import main, recipe_options
from gan_course.core import seeded
from gan_course.dcgan import build_model
from gan_course.runs import open_run, ready_folder, ready_run
from gan_course.settings import read_recipe, recipe

NETWORKS = """
from torch import nn


class Painter(nn.Module):
    def __init__(self, latent_dim, channels, size):
        super().__init__()
        self.latent_dim, self.shape = latent_dim, (channels, size, size)
        self.layer = nn.Linear(latent_dim, channels * size * size)

    def forward(self, z): return self.layer(z).tanh().unflatten(1, self.shape)


def networks(img_size, img_channels, latent_dim, base_channels, head):
    D = nn.Sequential(nn.Flatten(), nn.Linear(img_channels * img_size**2, 1), nn.Flatten(0))
    return Painter(latent_dim, img_channels, img_size), D
"""


def surroundings(cwd, **more):
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}  # as at a user's
    return {**buffered, "GAN_COURSE_DATA": str(cwd / "root"), "OMP_NUM_THREADS": "1", **more}


def call(*args, cwd, **more):
    """Run the command in a process; what it keeps of data goes to a root of its own."""
    command = [BIN / "gan-course", *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding=more.get("PYTHONIOENCODING", "utf-8"),
                          timeout=300, env=surroundings(cwd, **more))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    done = call("train", *SMALL, "--epochs", 2, "--out", "runs/first", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "runs/first" in done.stdout and "epoch   2" in done.stdout
    return folder


@pytest.fixture
def here(place, monkeypatch, capsys):
    """The same command in this process: (arguments) → exit status, what was printed, what went to standard error."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("GAN_COURSE_DATA", str(place / "root"))

    def run(*args):
        status = 0
        try: main([str(a) for a in args])
        except SystemExit as e: status = e.code or 0
        return status, *capsys.readouterr()
    return run


def test_sample_and_runs(here, place):
    assert here("sample", "runs/first", "--n", 5, "--out", "grid.png")[0] == 0
    assert here("sample", "runs/first", "--n", 5, "--out", "single")[0] == 0
    assert (place / "grid.png").exists() and len(list((place / "single").glob("*.png"))) == 5
    table = here("runs", "runs")[1]
    assert re.search(r"first +toy-birds +dcgan +32 +2/2 +384 ", table) and "toy-birds-dcgan (ready)" in table


def test_resume_takes_more_epochs_and_nothing_else(here):
    assert "--lr-g" in here("train", "--resume", "runs/first", "--lr-g", 1)[2]
    status, printed, errors = here("train", "--resume", "runs/first", "--epochs", 3)
    assert status == 0 and "epoch   3" in printed and "epoch   2" not in printed
    assert "step" not in errors  # no bar where standard error is no terminal


@pytest.fixture
def photos(place):
    """40 grey pictures of two classes, 48 wide and 32 high, with a white left end that a crop cuts off."""
    folder = place / "some photos"
    for i in range(0 if folder.exists() else 40):
        image = Image.new("L", (48, 32), 20 + i)
        image.paste(255, (0, 0, 8, 32))
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        image.save(folder / "ab"[i % 2] / f"{i}.png")
    return folder


TINY = ["--base-channels", 4, "--batch-size", 8, "--samples", 4, "--precision", "float32", "--size", 32, "--epochs", 1]


def test_a_run_goes_on_with_the_fit_and_the_channels_it_was_begun_with(here, place, photos):
    squeezed = ("--data", photos, "--fit", "stretch", "--channels", 3)
    assert here("train", *squeezed, *TINY, "--limit", 16, "--seed", 3, "--out", "squeezed")[0] == 0
    run = open_run(place / "squeezed")
    assert (run.config.fit, run.config.channels, run.info["model"]["img_channels"]) == ("stretch", 3, 3)
    seen = run.images(progress=False)
    assert seen.images.shape == (16, 3, 32, 32) and (seen.images[:, :, :, :4] > 200).all()
    assert seen.labels.bincount().tolist() == [8, 8] and len(run.images(limit=4)) == 4
    status, printed, errors = here("evaluate", "squeezed", "--extractor", "small", "--n-fake", 20, "--k", 3)
    assert status == 0 and "fit stretch, limit 16" in printed, errors
    status, printed, errors = here("evaluate", "squeezed", photos, "--extractor", "small", "--n-fake", 20, "--k", 3)
    assert status == 0 and "40 images 32×32" in printed and "fit stretch" in printed and "cuts" not in errors
    assert here("train", "--resume", "squeezed", "--epochs", 2)[0] == 0
    assert "--fit" in here("train", "--resume", "squeezed", "--fit", "pad")[2]


def test_a_run_from_before_limits_were_drawn_has_its_images(here, place, photos):
    assert here("train", "--data", photos, *TINY, "--limit", 16, "--fit", "pad", "--out", "older")[0] == 0
    file = place / "older/config.json"
    info = json.loads(file.read_text())
    for name in ("fit", "channels"): del info["train"][name]
    del info["data"]["fingerprint"]
    file.write_text(json.dumps(info))
    assert open_run(place / "older").images(progress=False).labels.tolist() == [0] * 16  # the first ones
    assert here("train", "--resume", "older", "--epochs", 2)[0] == 0


def test_moved_data_are_known_again_and_changed_ones_noticed(here, place, photos):
    there = place / "other disk" / "pictures"
    shutil.copytree(photos, there)
    assert here("train", "--data", there, *TINY, "--out", "moved")[0] == 0
    there = there.rename(place / "here by now")
    assert "other disk" in here("train", "--resume", "moved", "--epochs", 2)[2]
    status, _, errors = here("train", "--resume", "moved", "--epochs", 2, "--data", there)
    assert status == 0, errors
    run = open_run(place / "moved")
    assert run.config.data == str(there) and run.info["data"]["name"] == there.name and len(run.history) == 2
    assert here("train", "--resume", "moved", "--epochs", 3)[0] == 0  # knows the place by now
    picture = Image.open(there / "a/0.png")
    picture.putpixel((20, 20), 255)
    picture.save(there / "a/0.png")
    for use in (("train", "--resume", "moved", "--epochs", 4), ("evaluate", "moved", "--extractor", "small")):
        status, _, errors = here(*use)
        assert status == 2 and "changed, renamed or replaced" in errors and errors.count("\n") == 1
    status, _, errors = here("train", "--resume", "moved", "--epochs", 4, "--data", photos)  # a copy of what it was
    assert status == 0, errors


@pytest.mark.parametrize("options, match", [
    (["--data", "toy-birds", "--fit", "pad"], "fit is 'pad'"),
    (["--data", "some photos/", "--crop", "whole"], "crop is 'whole'"),
    (["--channels", 2], "channels has to be 1 or 3"), (["--fit", "cut"], "there is no fit 'cut'")])
def test_settings_that_do_not_belong_to_the_data_are_said(here, place, photos, options, match):
    for more in ([], ["--fid-every", 1, "--extractor", "small"]):
        status, _, errors = here("train", *options, *more, *TINY, "--out", "never")
        assert status == 2 and match in errors and errors.count("\n") == 1 and not (place / "never").exists()


def test_what_is_there_already_is_resumed_by_a_command_that_can_be_pasted(here, place):
    shutil.copytree(place / "runs/first", place / "with space")
    errors = here("train", *SMALL, "--out", "with space")[2]
    assert "gan-course train --resume 'with space'" in errors


def test_a_recipe_brings_settings_that_options_change(here, place):
    status, _, errors = here("train", "--recipe", "toy-birds-dcgan", *SMALL, "--epochs", 1, "--out", "cooked")
    assert status == 0, errors
    made = json.loads((place / "cooked/config.json").read_text())["train"]
    changed = dict(limit=200, base_channels=4, batch_size=32, samples=9, precision="float32", epochs=1)
    assert made == dataclasses.asdict(ready_run("toy-birds-dcgan").config) | changed


def test_a_recipe_brings_the_protocol_of_its_fid():
    wanted = dict(fid_every=25, n_fake=10000, extractor="inception", model="sagan-bn")
    assert recipe_options("cifar10-sagan").items() >= wanted.items()


def test_every_ready_run_was_made_by_the_recipe_of_its_name():
    recipes = {p.stem for p in (ROOT / "gan_course/recipes").iterdir()}
    assert recipes >= {p.name for p in ready_folder().iterdir()}
    for name in recipes:
        made = ready_folder() / name
        if not made.exists(): made = ROOT / "nbs/data" / name  # a run without weights, for its curves and samples
        if name.endswith("-gpu"):  # nobody made it yet
            assert recipe(name).epochs and not made.exists()
            continue
        run, measured = open_run(made), read_recipe(name).get("fid", {})
        assert recipe(name) == run.config
        assert bool(measured) == ("fid" in run.info) and measured.items() <= run.info.get("fid", {}).items()


def test_ready_runs_are_small_and_have_a_card():
    runs = [open_run(p) for p in ready_folder().iterdir()]
    sizes = {run.path.name: sum(p.stat().st_size for p in run.path.rglob("*") if p.is_file()) for run in runs}
    assert sizes.pop("cub200-dcgan") < 8e6 and sum(sizes.values()) < 25e6
    for run in runs:
        name, card = run.path.name, (run.path / "README.md").read_text(encoding="utf-8")
        assert card.startswith(f"# {name}\n") and f"gan-course train --recipe {name}" in card and "Failures: " in card
        for line in ("| data |", "| recipe |", "| cost |", "| weights |"):
            assert line in card, f"{name}: no line {line}"
        measured = [row for row in run.history if row["fid"] is not None]
        missing = [row["epoch"] for row in measured if format(row["fid"], ".1f") not in card]
        assert not missing, f"{name}: the FIDs of epochs {missing} are not in its card"
        assert len(run.epochs) <= 12
        for file in run.path.glob("checkpoints/*"):
            kinds = {v.dtype for v in load_file(file).values() if v.is_floating_point()}
            assert kinds == {torch.float16}, file


def test_evaluate_runs_and_folders(here, place):
    for seed, name in enumerate("ab"):
        assert here("sample", "toy-birds-dcgan", "--n", 70, "--seed", seed, "--out", name)[0] == 0
    status, printed, errors = here("evaluate", "a", "b", "--extractor", "small", "--json", "ab.json")
    assert status == 0, errors
    assert "Fréchet distance (small)" in printed and "FID" not in printed and "70 images" in printed
    stored = json.loads((place / "ab.json").read_text())
    assert stored["protocol"]["n_fake"] == stored["protocol"]["n_real"] == 70 and "fid" not in stored["values"]
    few = ("--extractor", "small", "--n-fake", 100, "--n-real", 100)
    status, printed, _ = here("evaluate", "toy-birds-dcgan", *few)
    assert status == 0 and "100 images 32×32 of toy-birds-dcgan" in printed


def test_distances_while_training(here, place):
    measure = ("--fid-every", 1, "--n-fake", 100, "--extractor", "small")
    status, _, errors = here("train", *SMALL, "--epochs", 2, *measure, "--out", "measured")
    assert status == 0, errors
    assert (place / "measured/frechet-small.csv").read_text().count("\n") == 3
    protocol = json.loads((place / "measured/config.json").read_text())["fid"]
    assert protocol == dict(extractor="small", n_fake=100, n_real=200, real="toy-birds", split="train", weights="ema",
                            seed=0, every=1)
    assert here("train", "--resume", "measured", "--epochs", 3)[0] == 0  # goes on measuring, in the same way
    assert (place / "measured/frechet-small.csv").read_text().count("\n") == 4


def test_the_default_place_is_free(here):
    for expected in ("_runs/toy-birds-dcgan", "_runs/toy-birds-dcgan-2"):
        assert expected in here("train", *SMALL, "--epochs", 1)[1].splitlines()[-1]


def test_networks_of_ones_own_are_imported_only_where_one_names_them(place):
    (place / "painters.py").write_text(NETWORKS)
    done = call("train", *SMALL, "--epochs", 1, "--model", "painters:networks", "--out", "own", cwd=place)
    assert done.returncode == 0, done.stderr
    for command in (["sample", "own", "--n", 4, "--out", "own.png"], ["train", "--resume", "own", "--epochs", 2],
                    ["export", "own", "--no-onnx", "--out", "own-generator"]):
        done = call(*command, cwd=place)
        lines = done.stderr.strip().splitlines()
        assert done.returncode == 2 and len(lines) == 1 and "painters:networks" in lines[0], done.stderr
        done = call(*command, "--model", "painters:networks", cwd=place)
        assert done.returncode == 0, done.stderr
    assert [p.name for p in (place / "own-generator").iterdir()] == ["generator.safetensors"]


@pytest.mark.parametrize("name", ["toy-birds-dcgan", "toy-birds-sagan"])
def test_an_exported_generator_makes_the_same_images_without_the_course(here, place, name):
    ort = pytest.importorskip("onnxruntime", reason="ONNX: pip install 'gan-course[export]'")
    status, printed, errors = here("export", name)
    folder = place / f"{name}-generator"
    assert status == 0 and "generator.onnx" in printed, errors
    code = (folder / "generator.py").read_text()
    assert "gan_course." not in code.partition('"""\nimport')[2] and ("Attention" in code) == ("sagan" in name)
    spec = importlib.util.spec_from_file_location("generator", folder / "generator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    z = torch.randn(5, 100, generator=seeded(3))
    with torch.no_grad(): ours, theirs = ready_run(name).generator()(z), module.load_generator()(z)
    assert torch.allclose(ours, theirs, atol=1e-5)
    session = ort.InferenceSession(str(folder / "generator.onnx"), providers=["CPUExecutionProvider"])
    assert abs(session.run(None, {"z": z.numpy()})[0] - ours.numpy()).max() < 1e-4
    assert here("export", name)[0] == 2  # nothing is overwritten


BAD = [
    (["trian"], "did you mean 'train'"),
    (["train", "--data", "cifar"], "did you mean 'cifar10'"),
    (["train", "--model", "dcgun"], "did you mean 'dcgan'"),
    (["train", "--model", "nowhere:networks"], "module nowhere cannot be imported"),
    (["train", "--model", "os:no_such_function"], "has no function no_such_function"),
    (["train", "--model", "a b:c"], "module:function"),
    (["train", "--loss", "bse"], "did you mean 'bce'"),
    (["train", "--size", "48"], "48"),
    (["train", "--limit", "10"], "batch"),
    (["train", "--time", "8"], "a number with its unit"),
    (["train", "--time", "0m"], "a number with its unit"),
    (["train", "--epochs", "-2"], "epochs has to be at least 1"),
    (["train", "--data", "./missing"], "missing"),
    (["train", "--data", "./empty"], "empty"),
    (["train", "--recipe", "cifar10-dcgun"], "did you mean 'cifar10-dcgan'"),
    (["train", "--recipe", "cifar10-dcgan", "--resume", "runs/first"], "one of the two"),
    (["train", "--resume", "empty"], "no run folder"),
    (["train", "--resume", "./missing"], "there is no folder"),
    (["sample", "empty"], "no run folder"),
    (["sample", "toy-brids-dcgan"], "did you mean 'toy-birds-dcgan'"),
    (["sample", "toy-birds-dcgan", "--n", "0"], "at least 1"),
    (["sample", "toy-birds-dcgan", "--weights", "77"], "no weights of '77'"),
    (["runs", "./missing"], "missing"),
    (["evaluate", "./missing", "./empty", "--extractor", "small"], "missing"),
    (["evaluate", "./empty", "toy-birds", "--extractor", "small"], "no images in"),
    (["evaluate", "toy-birds-dcgan", "--extractor", "inceptoin"], "did you mean 'inception'"),
    (["evaluate", "toy-birds-dcgan", "--extractor", "small", "--n-fake", "1"], "2 or more"),
    (["evaluate", "toy-birds-dcgan", "--extractor", "small", "--n-fake", "0"], "2 or more"),
    (["evaluate", "toy-birds-dcgan", "--extractor", "small", "--n-real", "-1"], "2 or more"),
    (["train", "--fid-every", "-1"], "fid_every"),
    (["train", "--fid-every", "1", "--out", "runs/first"], "is there already"),
    (["train", "--fid-every", "1", "--model", "dcgun"], "did you mean 'dcgan'"),
    (["sample", "toy-birds-dcgan", "--weights", "0"], "no weights of '0'"),
    (["sample", "toy-birds-dcgan", "--out", "birds.jpg"], ".png"),
    (["sample", "toy-birds-dcgan", "--out", "runs"], "not empty"),
    (["evaluate", "toy-birds-dcgan", "--extractor", "small", "--weights", "0"], "no weights of '0'"),
    (["evaluate", "toy-birds-dcgan", "--extractor", "small", "--batch-size", "0"], "at least 1"),
    (["evaluate", "toy-birds-dcgan", "--extractor", "small", "--k", "0"], "at least 1"),
    (["explain", "toy-birds-dcgan", "--limit", "0"], "--limit and --rows have to be at least 1"),
    (["export", "toy-birds-dcgan", "--out", "runs"], "is there already"),
    (["train", "--data", ""], "--data is empty"),
    (["train", "--out="], "--out is empty"),
    (["sample", ""], "an argument is empty"),
    (["train", "--out=~nobody-of-that-name/x"], "no user of that name"),
    (["evaluate", "toy-birds-dcgan", "--json", "runs"], "--json is runs, a folder"),
    (["explain", "toy-birds-dcgan", "--out", "dir.png"], "--out is dir.png, a folder"),
    (["sample"], "Required options"),
    (["runs", "a", "b"], "there is no place for 'b'; see gan-course runs --help"),
    (["train", "--epoch", "3"], "there is no option --epoch: did you mean --epochs? see gan-course train --help"),
    (["sample", "toy-birds-dcgan", "--ouput=x"], "there is no option --ouput: did you mean --out? see"),
    (["doctor", "--run"], "there is no option --run; see"),
    (["sample", "toy-birds-dcgan", "--out", "a\0.png"], "no text that a shell can give"),
    (["evaluate", "a.zip", "toy-birds", "--extractor", "small"], "unpack archives"),
    (["evaluate", "toy-birds-dcgan", "--n-fake"], "Missing value for argument '--n-fake'"),
    (["train", "--epochs", "9" * 6000], "Error parsing --epochs"),
    (["sample", "toy-birds-dcgan", "--n", "1000000000"], "at most 1,000,000"),
    (["sample", "toy-birds-dcgan", "--n", "1000000"], "too many for one picture"),
    (["sample", "toy-birds-dcgan", "--weights", "9" * 6000], "no weights of"),
    (["runs", "x" * 6000], "File name too long"),
]


def one_line(errors, message):
    lines = [line for line in errors.splitlines() if line.strip()]
    return len(lines) == 1 and lines[0].startswith("gan-course: ") and message in lines[0]


@pytest.mark.parametrize(("args", "message"), BAD, ids=[" ".join(args)[:60] for args, _ in BAD])
def test_bad_input_gives_one_line_and_status_2(here, place, args, message):
    for name in ("empty", "dir.png"): (place / name).mkdir(exist_ok=True)
    (place / "a.zip").write_bytes(b"")
    status, _, errors = here(*args)
    assert status == 2 and one_line(errors, message), errors


@pytest.mark.parametrize(("args", "message"), [BAD[0], BAD[8]], ids=["trian", "limit"])
def test_bad_input_of_the_command_itself(place, args, message):
    done = call(*args, cwd=place)
    assert done.returncode == 2 and one_line(done.stderr, message), done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C another way")
def test_ctrl_c_says_how_to_go_on(tmp_path):
    command = [BIN / "gan-course", "train", *SMALL, "--epochs", "500", "--out", "r"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while not (tmp_path / "r/samples/epoch-0002.png").exists() and time.time() < deadline: time.sleep(.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "gan-course train --resume r" in errors and "Traceback" not in errors
    epochs = int(re.search(r"stopped after (\d+) complete epochs", errors)[1])
    assert call("train", "--resume", "r", "--epochs", epochs + 1, cwd=tmp_path).returncode == 0


# ---- a shell, a terminal, a cluster

@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "ascii"])
def test_files_are_written_whatever_standard_output_can_print(place, encoding):
    name = f"Vögel 鳥 {encoding}"
    for args in (["sample", "toy-birds-dcgan", "--n", 8, "--out", name],
                 ["sample", "runs/first", "--out", f"{name}.png"],
                 ["evaluate", name, name, "--extractor", "small", "--json", f"{name}.json"]):
        done = call(*args, cwd=place, PYTHONIOENCODING=encoding)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (place / f"{name}.png").exists() and json.loads((place / f"{name}.json").read_text(encoding="utf-8"))


def test_numbers_are_seen_where_their_file_cannot_be_written(here, place, monkeypatch):
    def full(self, path): raise OSError(28, "No space left on device")
    monkeypatch.setattr("gan_course.evaluation.Evaluation.to_json", full)
    few = ("--extractor", "small", "--n-fake", 20, "--n-real", 20)
    status, printed, errors = here("evaluate", "toy-birds-dcgan", *few, "--json", "full.json")
    assert status == 2 and "Fréchet distance" in printed and one_line(errors.splitlines()[-1], "No space left")


@pytest.mark.skipif(os.name == "nt", reason="pipes of Windows end in another way")
@pytest.mark.parametrize("args", [["runs"], ["--help"], ["runs", "--help"]])
def test_a_closed_pipe_ends_quietly(place, args):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([BIN / "gan-course", *args], cwd=place, env=surroundings(place), stdout=writer,
                          stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141 and not done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pipes of Windows end in another way")
def test_a_closed_pipe_ends_no_training(place):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([BIN / "gan-course", "train", *SMALL, "--epochs", "2", "--out", "unread"], cwd=place,
                          env=surroundings(place), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert len(open_run(place / "unread").history) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_behind_standard_output_is_said(place):
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN / "gan-course", "runs"], cwd=place, env=surroundings(place), stdout=full,
                              stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and one_line(done.stderr, "No space left"), done.stderr


def test_home_is_home_wherever_it_stands(here, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place / "home"))
    monkeypatch.setenv("USERPROFILE", str(place / "home"))
    assert here("sample", "toy-birds-dcgan", "--n", 4, "--out=~/a.png")[0] == 0
    assert here("sample", "toy-birds-dcgan", "--n", 4, "--out", "~/b")[0] == 0
    assert here("evaluate", "~/b", "~/b", "--extractor", "small", "--json=~/c.json")[0] == 0
    assert here("export", "toy-birds-dcgan", "--no-onnx", "--out=~/d")[0] == 0
    assert here("train", *SMALL, "--epochs", 1, "--out=~/runs/e")[0] == 0
    assert "/runs/e" in here("runs", "~/runs")[1]
    assert here("train", "--resume=~/runs/e", "--epochs", 2)[0] == 0
    assert {p.name for p in (place / "home").iterdir()} == {"a.png", "b", "c.json", "d", "runs"}
    assert not (place / "~").exists()


def test_printed_commands_can_be_pasted(here, monkeypatch):
    from gan_course import training

    def stopped(*args, **more): raise training.Stopped("it's a run", 1)
    monkeypatch.setattr(training, "train", stopped)
    status, _, errors = here("train", "--out", "it's a run")
    command = errors.partition("go on with: ")[2]
    assert status == 130 and shlex.split(command)[-1] == "it's a run"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_what_is_no_regular_file_is_never_replaced(here, place):
    os.mkfifo(place / "pipe.png")
    (place / "target.json").write_text("")
    (place / "link.json").symlink_to("target.json")
    small = ("evaluate", "toy-birds-dcgan", "--extractor", "small", "--n-fake", 20, "--n-real", 20, "--json")
    for args in ([*small, "pipe.png"], ["sample", "toy-birds-dcgan", "--out", "pipe.png"],
                 ["explain", "toy-birds-dcgan", "--out", "pipe.png"]):
        status, _, errors = here(*args)
        assert status == 2 and one_line(errors, "a device or a pipe") and (place / "pipe.png").is_fifo()
    assert here(*small, "link.json")[0] == 0
    assert (place / "link.json").is_symlink() and json.loads((place / "target.json").read_text())
    with open(place / "printed.json", "w") as f:  # as --json /dev/stdout > printed.json has it
        done = subprocess.run([BIN / "gan-course", *map(str, small), "printed.json"], cwd=place, stdout=f,
                              stderr=subprocess.PIPE, text=True, env=surroundings(place))
    assert done.returncode == 2 and one_line(done.stderr, "goes already"), done.stderr


def test_evaluate_names_all_files_that_it_cannot_read(here, place):
    assert here("sample", "toy-birds-dcgan", "--n", 6, "--out", "spoilt")[0] == 0
    for name in ("00001.png", "00004.png"): (place / "spoilt" / name).write_bytes(b"no picture")
    status, _, errors = here("evaluate", "spoilt", "toy-birds", "--extractor", "small")
    assert status == 2 and one_line(errors, "2 files cannot be read") and "00001" in errors and "00004" in errors


def test_one_bad_run_does_not_end_the_list(here, place, monkeypatch):
    for name in ("a", "b"): shutil.copytree(place / "runs/first", place / "mixed" / name)
    from gan_course import runs

    def only_b(path, opened=runs.open_run):
        if path.name == "a": raise MemoryError("as a stranger's run may end")
        return opened(path)
    monkeypatch.setattr(runs, "open_run", only_b)
    status, printed, _ = here("runs", "mixed")
    assert status == 0 and "a stranger's run" in printed and "mixed/b " in printed and "(ready)" in printed


@pytest.mark.parametrize("left", [dict(WORLD_SIZE="2"), dict(RANK="1"), dict(LOCAL_RANK="3"), dict(WORLD_SIZE="two"),
                                  dict(WORLD_SIZE="2", RANK="1"),
                                  dict(WORLD_SIZE="2", RANK="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="1")], ids=str)
def test_what_another_job_left_in_the_environment_is_said(here, place, left, monkeypatch):
    for name, value in left.items(): monkeypatch.setenv(name, value)
    status, _, errors = here("train", *SMALL, "--epochs", 1, "--out", "left")
    assert status == 2 and one_line(errors, "env -u ") and not (place / "left").exists(), errors
    status, _, errors = here("runs", "./missing")
    assert status == 2 and one_line(errors, "there is no folder"), errors
    status, printed, _ = here("doctor")
    assert status == 1 and "to do: " in printed and "env -u " in printed


def test_one_process_alone_needs_no_others(place):
    left = dict(WORLD_SIZE="1", RANK="0", LOCAL_RANK="0")
    done = call("train", *SMALL, "--epochs", 1, "--out", "alone", cwd=place, **left)
    assert done.returncode == 0, done.stderr


def test_doctor(here, place, monkeypatch):
    status, printed, _ = here("doctor")
    assert status == 0 and printed.endswith("OK\n") and torch.__version__ in printed, printed
    assert str(place / "root") in printed and re.search(r"cache/ has \d.* in \d+ entries", printed)
    (place / "no folder").write_text("")
    monkeypatch.setenv("GAN_COURSE_DATA", str(place / "no folder"))
    status, printed, _ = here("doctor")
    assert status == 1 and "to do: nothing can be written in" in printed and "OK" not in printed
    monkeypatch.setattr("gan_course.storage.data_root", lambda: 1 / 0)
    assert here("doctor")[0] == 1  # one part that fails does not hide the others


def test_doctor_trains_a_small_gan(here, place, monkeypatch):
    monkeypatch.setattr("gan_course.cli._doctor_gan.SECONDS", .01)
    status, printed, _ = here("doctor", "--gan")
    assert status == 0 and re.search(r"gan +1 steps of a small DCGAN .*: _runs/doctor.png", printed), printed
    assert Image.open(place / "_runs/doctor.png").size == (2 * 274, 2 * 138)
    monkeypatch.setattr("gan_course.dcgan.build_model", without_numbers)
    status, printed, _ = here("doctor", "--gan")
    assert status == 1 and "to do: the losses of a small GAN are not finite" in printed


def without_numbers(*args, **kwargs):
    networks = build_model(*args, **kwargs)
    for net in networks: net.requires_grad_(False).apply(lambda m: [p.fill_(torch.nan) for p in m.parameters()])
    return [net.requires_grad_(True) for net in networks]


def test_doctor_sees_that_memory_is_short(here, monkeypatch):
    assert re.search(r"memory +\d.*B, of which \d.*B are free", here("doctor")[1])
    monkeypatch.setattr("gan_course.cli._doctor_gan.LITTLE", 1e18)
    status, printed, _ = here("doctor")
    assert status == 1 and "to do: only " in printed


HELP = "from gan_course import cli\ntry: cli.main(['{}', '--help'])\nexcept SystemExit: pass"
NEVER = ["matplotlib", "IPython", "ipywidgets", "tensorboard", "torchvision", "accelerate"]
SMALL_MODULES = "steps, gan_course.runs, gan_course.data, gan_course.losses, gan_course.dcgan, gan_course.fid"


@pytest.mark.parametrize(("code", "heavy"), [
    ("import gan_course", [*NEVER, "torch"]),
    ("import gan_course.cli", [*NEVER, "torch"]),
    *((HELP.format(command), [*NEVER, "torch"]) for command in "sample evaluate explain export runs doctor".split()),
    (f"import gan_course.{SMALL_MODULES}", NEVER),
    ("from gan_course.core import progress_bar\nlist(progress_bar(range(2), 'counting'))", NEVER),
])
def test_imports_stay_light(code, heavy):
    check = f"import sys; found = [m for m in {heavy} if m in sys.modules]; assert not found, found"
    subprocess.run([sys.executable, "-c", f"{code}\n{check}"], check=True)
