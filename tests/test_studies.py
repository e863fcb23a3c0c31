"""Studies: each runs at toy size, what its files hold is not made again, its networks are what their names say."""
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from conftest import ROOT
from gan_course.core import InputError
from gan_course.dcgan import build_model
from gan_course.losses import get_loss
from gan_course.studies import (
    attention,
    birds,
    cifar10,
    common,
    distortions,
    heat,
    rules,
    run_birds,
    run_cifar10,
    run_rules,
)
from gan_course.toybirds import toy_birds

DATA = ROOT / "nbs/data"
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
STUDIES = {  # study → its parts, the files it writes
    "birds": ("heads claims few heat looks copies",
              "20_birds_heads.json 20_birds_claims.json 20_birds_few.json 20_birds_heat.json 20_birds_looks.json "
              "20_birds_copies.json 20_birds_heads.png 20_birds_claims.png 20_birds_few.png 20_birds_film.png "
              "20_birds_heat.csv"),
    "cifar10": ("recipe scores", "21_cifar10_recipe.json 21_cifar10_fid.json"),
    "rules": ("", "22_rules.json 22_rules.png"),
    "attention": ("", "08_sagan_rule.json"),
    "distortions": ("", "07_fid_distortions.json"),
    "heat": ("", "10_gradcam_heat.json"),
}


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_at_toy_size(study, tmp_path):
    parts, files = STUDIES[study]
    command = [sys.executable, "-m", f"gan_course.studies.{study}", *parts.split(), "--tiny"]
    done = subprocess.run(command, cwd=tmp_path, env=ENV | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    place, = tmp_path.iterdir()  # nothing but the temporary folder was written
    results = place / "results"
    assert {p.name for p in results.iterdir()} == set(files.split())
    for file in results.glob("*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        made = content["made"][-1]
        assert made.keys() >= {"command", "date", "commit", "versions", "hardware", "jobs", "threads"}
        assert made["command"].startswith(f"python -m gan_course.studies.{study}") and made["threads"] == 1
        stored = common.read_report(DATA / file.name)
        elsewhere = {"command", "jobs", "threads", "torch"}  # in older files; now in `made`
        assert stored.keys() - elsewhere <= content.keys(), f"{file.name} has another form than the lessons read"


def test_package_does_not_import_its_studies():
    code = "import sys, gan_course.training, gan_course.evaluation; print([m for m in sys.modules if 'studies' in m])"
    done = subprocess.run([sys.executable, "-c", code], env=ENV, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("study", (run_birds, run_cifar10))
def test_without_a_part_the_command_says_which_there_are(study, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["study", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stop: study.run_study()
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and "say which parts" in said


def test_results_have_a_place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["study"])
    with pytest.raises(InputError, match="top of a clone, or give --out"): heat.main()


# what was trained once is not trained again

@pytest.mark.parametrize("group", birds.GROUPS)
def test_stored_runs_of_birds_are_known_again(group):
    rows, plan = common.read_report(DATA / f"20_birds_{group}.json")["runs"], run_birds.FULL.plan(group)
    assert [row["name"] for row in run_birds.done_already(rows, plan)] == list(plan)
    other = [row | dict(config=row["config"] | dict(seed=7)) for row in rows]
    assert run_birds.done_already(other, plan) == []


def test_stored_lines_of_the_recipe_are_known_again():
    rows = common.read_report(DATA / "21_cifar10_recipe.json")["rows"]
    assert [row["name"] for row in run_cifar10.lines_done(rows)] == list(cifar10.RECIPE)
    assert run_cifar10.lines_done([row | dict(settings=dict(lr_g=1.)) for row in rows]) == []


def test_stored_scores_are_known_again(monkeypatch):
    monkeypatch.setattr(run_cifar10, "load_images", lambda *args, **how: pytest.fail("a score is made again"))
    o = run_cifar10.Cifar10Options(out=DATA)
    run_cifar10.scores(o, run_cifar10.FULL)


@pytest.mark.parametrize("o", [
    run_rules.RulesOptions(), run_rules.RulesOptions(lr=2e-4, only=("dcgan", "batch-norm", "strides", "beta1"))],
    ids=["0.001", "0.0002"])
def test_stored_results_of_the_rules_are_known_again(o, tmp_path):
    found = run_rules.results_there(DATA / f"{run_rules.name_of(o)}.json", run_rules.settings_of(o))
    assert list(found) == list(o.only) and all(len(runs) == o.seeds for runs in found.values())
    with pytest.raises(InputError, match="other settings"):
        run_rules.results_there(DATA / "22_rules.json", run_rules.settings_of(o) | dict(epochs=1))
    assert run_rules.results_there(tmp_path / "22_rules.json", {}) == {}


def test_stored_results_of_attention_are_known_again():
    report = common.read_report(DATA / "08_sagan_rule.json")
    assert len(attention.rows_there(report, attention.COMMON, 5000)) == 9
    assert attention.rows_there(report, attention.COMMON, 100) == []
    with pytest.raises(InputError, match="other settings"): attention.rows_there(report, attention.TINY, 5000)


@pytest.mark.parametrize("study, said", [(heat, "all 108 rows"), (distortions, "there already")])
def test_complete_files_are_left_alone(study, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["study", "--out", str(DATA)])
    study.main()
    assert said in capsys.readouterr().out


def test_a_session_is_told_of_once(tmp_path):
    file, o = tmp_path / "rows.json", common.StudyOptions(out=tmp_path)
    file.write_text('[{"a": 1}]')  # as it was before: a list of rows, without a word on how they were made
    assert common.read_report(file) == dict(rows=[dict(a=1)])
    for rows in ([dict(a=1), dict(a=2)], [dict(a=1), dict(a=2), dict(a=3)]):
        common.write_report(file, "python -m study", o, rows=rows)
    report = common.read_report(file)
    assert len(report["rows"]) == 3 and len(report["made"]) == 1


# the networks and steps

def test_sum_is_the_mean_times_the_places():
    pair = [build_model(name, 0, base_channels=8, head="gap")[1].eval() for name in ("dcgan", "dcgan-sum")]
    x, bias = torch.randn(4, 3, 32, 32), pair[0].head.bias
    mean, total = (D(x) - bias for D in pair)
    assert torch.allclose(total, 16 * mean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name, left", [("dcgan", 2), ("dcgan-no-last-bn", 1), ("dcgan-no-bn", 0)])
def test_batch_norm_is_left_out_of_d_alone(name, left):
    G, D = build_model(name, 0, base_channels=8)
    count = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (G, D)]
    assert count == [3, left]
    if name == "dcgan-no-last-bn": assert isinstance(D.features[3], nn.BatchNorm2d)


def test_moving_both_lowers_g_loss_by_d_as_well():
    G, D = build_model("dcgan", 0, base_channels=8)
    opt, step = torch.optim.Adam(G.parameters(), 1e-3, (.5, .999)), birds.moving_both()
    z, before = torch.randn(16, 100), [p.clone() for p in D.parameters()]
    losses = [step(D, opt, G(z), get_loss("bce"))["g_loss"].item() for _ in range(5)]
    assert losses[-1] < losses[0] and not any(map(torch.equal, before, D.parameters()))


def test_each_rule_is_left_out_alone():
    of = {name: build_model(f"rules-{name}", 0, base_channels=8) for name in rules.VARIANTS}
    def count(name, kind): return [sum(isinstance(m, kind) for m in net.modules()) for net in of[name]]
    assert count("dcgan", nn.BatchNorm2d) == [3, 2] and count("batch-norm", nn.BatchNorm2d) == [0, 0]
    assert count("strides", nn.MaxPool2d) == [0, 3] and count("strides", nn.Upsample) == [3, 0]
    assert count("leaky", nn.LeakyReLU) == [0, 0] and count("tanh", nn.Tanh) == [0, 0]
    for G, D in of.values(): assert D(G(torch.randn(2, 100))).shape == (2,)
    wide, usual = (of[name][0].layers[3].weight.std() for name in ("init", "dcgan"))
    assert wide > 1.2 * usual


@pytest.mark.parametrize("name", [name for name, variant in cifar10.RECIPE.items() if not variant.settings])
def test_lines_of_the_recipe_have_what_they_say(name):
    G, D = build_model(cifar10.config_of(name).model, 0, base_channels=8)
    assert D(G(torch.randn(2, 100))).shape == (2,)
    plain = not any(hasattr(m, "parametrizations") for m in G.layers if isinstance(m, nn.ConvTranspose2d))
    assert plain == (name[0] in "1234")
    assert any(isinstance(m, nn.BatchNorm2d) for m in D.modules()) == (name[0] in "234")
    if name == "sagan, logits × 8":
        D.eval()
        x = torch.randn(2, 3, 32, 32)
        inner = D.head.layer(D.features(x).sum((2, 3))).squeeze(1)
        assert torch.allclose(D(x), 8 * inner, rtol=1e-3, atol=1e-5)


# the measures

def test_edges_stand_where_the_image_changes():
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    images[..., 16:] = 200
    found = birds.edge_maps(images, 16)[0]
    assert found[:, 15:17].min() > 10 and found[:, :10].max() == 0 == found[:, 22:].max()


def test_heat_of_the_box_itself_lies_in_it():
    from gan_course.gradcam import box_masks

    some = toy_birds(20, 0)
    inside = box_masks(some.boxes, (32, 32))
    share, mean = birds.heat_in_boxes(inside, some.boxes)
    assert share.min() > .9 and mean["beyond"] > .5 and mean["beyond_low"] < mean["beyond"] < mean["beyond_high"]
    assert birds.heat_in_boxes(1 - inside, some.boxes)[1]["beyond"] < 0


def test_look_tells_sharp_from_blurred_and_green_from_grey():
    green = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    green[:, 1] = 200
    assert torch.allclose(birds.rim_hues(green), torch.tensor(120., dtype=torch.float64).float().expand(4), atol=1)
    assert len(birds.rim_hues(torch.full_like(green, 90))) == 0
    some = toy_birds(20, 0).images
    sharp, blurred = birds.look_of(some), birds.look_of(distortions.blurred(some, 1.))
    assert blurred["sharpness"] < sharp["sharpness"] / 2 and sharp["n"] == 20 == sum(sharp["sharpness_counts"])
