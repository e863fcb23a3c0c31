"""The command line as a person types it."""
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import gan_course.train as T
from gan_course.cli import recipe_options

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SMALL = ["--limit", "200", "--base-channels", "4", "--batch-size", "32", "--samples", "9", "--precision", "float32"]


def call(*args, cwd):
    """Run the command; what it keeps of data goes to a root of its own."""
    return subprocess.run([BIN / "gan-course", *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "GAN_COURSE_DATA": str(cwd / "root"), "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    done = call("train", *SMALL, "--epochs", 2, "--out", "runs/first", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "runs/first" in done.stdout and "epoch   2" in done.stdout
    return folder


def test_sample_and_runs(place):
    assert call("sample", "runs/first", "--n", 5, "--out", "grid.png", cwd=place).returncode == 0
    assert call("sample", "runs/first", "--n", 5, "--out", "single", cwd=place).returncode == 0
    assert (place / "grid.png").exists() and len(list((place / "single").glob("*.png"))) == 5
    table = call("runs", "runs", cwd=place).stdout
    assert re.search(r"first +toy-birds +dcgan +32 +2/2 +384 ", table) and "toy-birds-dcgan (ready)" in table


def test_resume_takes_more_epochs_and_nothing_else(place):
    assert "--lr-g" in call("train", "--resume", "runs/first", "--lr-g", 1, cwd=place).stderr
    done = call("train", "--resume", "runs/first", "--epochs", 3, cwd=place)
    assert done.returncode == 0 and "epoch   3" in done.stdout and "epoch   2" not in done.stdout


def test_a_recipe_brings_settings_that_options_change(place):
    done = call("train", "--recipe", "toy-birds-dcgan", *SMALL, "--epochs", 1, "--out", "cooked", cwd=place)
    assert done.returncode == 0, done.stderr
    made = json.loads((place / "cooked/config.json").read_text())["train"]
    assert made == dataclasses.asdict(T.ready_run("toy-birds-dcgan").config) | dict(limit=200, base_channels=4, batch_size=32, samples=9, precision="float32", epochs=1)


def test_a_recipe_brings_the_protocol_of_its_fid():
    assert recipe_options("cifar10-sagan").items() >= dict(fid_every=25, fid_images=10000, extractor="inception", model="sagan-bn").items()


def test_every_ready_run_was_made_by_the_recipe_of_its_name():
    recipes = {p.stem for p in (ROOT / "gan_course/recipes").iterdir()}
    assert recipes >= {p.name for p in T.ready_folder().iterdir()}
    for name in recipes:
        made = T.ready_folder() / name
        if not made.exists(): made = ROOT / "nbs/data" / name  # a run without weights, for its curves and samples
        if name.endswith("-gpu"):  # nobody made it yet
            assert T.recipe(name).epochs and not made.exists()
            continue
        run, measured = T.open_run(made), T.read_recipe(name).get("fid", {})
        assert T.recipe(name) == run.config
        assert bool(measured) == ("fid" in run.info) and measured.items() <= run.info.get("fid", {}).items()


def test_ready_runs_are_small_and_have_a_card():
    runs = [T.open_run(p) for p in T.ready_folder().iterdir()]
    sizes = {run.path.name: sum(p.stat().st_size for p in run.path.rglob("*") if p.is_file()) for run in runs}
    assert sizes.pop("cub200-dcgan") < 8e6 and sum(sizes.values()) < 25e6
    for run in runs:
        name, card = run.path.name, (run.path / "README.md").read_text(encoding="utf-8")
        assert card.startswith(f"# {name}\n") and f"gan-course train --recipe {name}" in card and "Failures: " in card
        for line in ("| data |", "| recipe |", "| cost |", "| weights |"): assert line in card, f"{name}: no line {line}"
        for row in run.history:
            if row["fid"] is not None: assert f"{row['fid']:.1f}" in card, f"{name}: the FID of epoch {row['epoch']} is not in its card"
        assert len(run.epochs) <= 12
        for file in run.path.glob("checkpoints/*"):
            weights = load_file(file)
            assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float16}, file


def test_evaluate_runs_and_folders(place):
    for seed, name in enumerate("ab"):
        assert call("sample", "toy-birds-dcgan", "--n", 70, "--seed", seed, "--out", name, cwd=place).returncode == 0
    done = call("evaluate", "a", "b", "--extractor", "small", "--json", "ab.json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "Fréchet distance (small)" in done.stdout and "FID" not in done.stdout and "70 images" in done.stdout
    stored = json.loads((place / "ab.json").read_text())
    assert stored["protocol"]["n_fake"] == stored["protocol"]["n_real"] == 70 and "fid" not in stored["values"]
    done = call("evaluate", "toy-birds-dcgan", "--extractor", "small", "--n-fake", 100, "--n-real", 100, cwd=place)
    assert done.returncode == 0 and "100 images 32×32 of toy-birds-dcgan" in done.stdout


def test_distances_while_training(place):
    done = call("train", *SMALL, "--epochs", 2, "--fid-every", 1, "--fid-images", 100, "--extractor", "small", "--out", "measured", cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "measured/frechet-small.csv").read_text().count("\n") == 3
    protocol = json.loads((place / "measured/config.json").read_text())["fid"]
    assert protocol == dict(extractor="small", n_fake=100, n_real=200, real="toy-birds", split="train", weights="ema", seed=0, every=1)
    assert call("train", "--resume", "measured", "--epochs", 3, cwd=place).returncode == 0  # goes on measuring, in the same way
    assert (place / "measured/frechet-small.csv").read_text().count("\n") == 4


def test_the_default_place_is_free(place):
    for expected in ("_runs/toy-birds-dcgan", "_runs/toy-birds-dcgan-2"):
        assert expected in call("train", *SMALL, "--epochs", 1, cwd=place).stdout.splitlines()[-1]


@pytest.mark.parametrize("args, message", [
    (["trian"], "did you mean 'train'"),
    (["train", "--data", "cifar"], "did you mean 'cifar10'"),
    (["train", "--model", "dcgun"], "did you mean 'dcgan'"),
    (["train", "--loss", "bse"], "did you mean 'bce'"),
    (["train", "--size", "48"], "48"),
    (["train", "--limit", "10"], "batch"),
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
], ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_bad_input_gives_one_line_and_status_2(place, args, message):
    (place / "empty").mkdir(exist_ok=True)
    done = call(*args, cwd=place)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 2 and len(lines) == 1 and lines[0].startswith("gan-course: ") and message in lines[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C another way")
def test_ctrl_c_says_how_to_go_on(tmp_path):
    process = subprocess.Popen([BIN / "gan-course", "train", *SMALL, "--epochs", "500", "--out", "r"], cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while not (tmp_path / "r/samples/epoch-0002.png").exists() and time.time() < deadline: time.sleep(.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "gan-course train --resume r" in errors and "Traceback" not in errors
    epochs = int(re.search(r"stopped after (\d+) complete epochs", errors)[1])
    assert call("train", "--resume", "r", "--epochs", epochs + 1, cwd=tmp_path).returncode == 0


HELP = "from gan_course import cli\ntry: cli.main(['{}', '--help'])\nexcept SystemExit: pass"


@pytest.mark.parametrize("code", [
    "import gan_course",
    "import gan_course.cli",
    *(HELP.format(command) for command in ("sample", "evaluate", "explain", "runs")),
    "import gan_course.train, gan_course.data, gan_course.losses, gan_course.dcgan",
])
def test_imports_stay_light(code):
    heavy = "['matplotlib', 'IPython', 'ipywidgets', 'tensorboard', 'torchvision', 'accelerate']" + ("+ ['torch']" if "train" not in code else "")
    subprocess.run([sys.executable, "-c", f"{code}\nimport sys; found = [m for m in {heavy} if m in sys.modules]; assert not found, found"], check=True)
