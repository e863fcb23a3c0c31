"""`gan-course diagnose`: what sick trainings are called, that healthy ones are left in peace, and the command."""
import json
import math
import shutil

import pytest

import sick_runs
from conftest import ROOT
from gan_course.cli import main
from gan_course.core import InputError
from gan_course.diagnosis import LEAST, UNSEEN, diagnose
from gan_course.runs import ready_folder, ready_run, write_history

HISTORIES = sick_runs.histories()
RUNS = {  # what the curves of image runs say
    "healthy": [], "healthy, seed 1": [], "healthy, hinge": [],
    "lr_g tiny": ["likely: D too strong"], "lr_d tiny": ["likely: D too weak"],
    "beta1 0.9": ["likely: D too strong"],  # as in lesson 22: D is right on more than 99 % of the fakes
    "minimax": ["likely: vanished gradient"], "five steps of D": ["possible: D too strong"],
    "60 images": ["likely: D learns by heart"], "sngan, all images alike": ["possible: collapse"],
    "rates of 0.05": [],  # its images are bad, and its curves are those of health: means over epochs hide it
}


def named(history, loss="bce"):
    return [f"{f.sure}: {f.name}" for f in diagnose(history, loss)]


def rows(n=10, **columns):
    """A history in which nothing happens, but for the columns given: a number, or one for each row."""
    accuracies = dict.fromkeys(("d_acc_real", "d_acc_real_test", "d_acc_fake"), .75)
    calm = dict(d_loss_real=.5, d_loss_fake=.5, g_loss=1.) | accuracies | columns
    return [dict(epoch=i + 1) | {k: v[i] if isinstance(v, list) else v for k, v in calm.items()} for i in range(n)]


@pytest.mark.parametrize("name", HISTORIES["toy"])
def test_the_clinic_is_named_and_healthy_games_are_not(name):
    found = [finding.name for finding in diagnose(*HISTORIES["toy"][name])]
    assert found == ([] if name.startswith("healthy") else [name.partition(", seed")[0]])


@pytest.mark.parametrize("name", RUNS)
def test_image_runs(name):
    assert named(*HISTORIES["run"][name]) == RUNS[name]


def test_all_image_runs_are_judged():
    assert set(RUNS) == set(HISTORIES["run"]) == set(sick_runs.RUNS) and set(HISTORIES["toy"]) == set(sick_runs.games())


def test_ready_runs_are_healthy_or_what_their_readme_says():
    for folder in sorted(p for p in ready_folder().iterdir() if p.is_dir()):
        run, words = ready_run(folder.name), (folder / "README.md").read_text(encoding="utf-8")
        heart = ["possible: D learns by heart"] if "begun to learn them by heart" in words else []
        assert named(run.history, run.config.loss) == heart, folder.name


def test_runs_of_the_case_study_on_birds():
    """Two whose G moved D and one with minimax collapsed; without augmentation D learned by heart (lesson 20)."""
    runs = {}
    for name in ("claims", "heads"):
        for run in json.loads((ROOT / f"nbs/data/20_birds_{name}.json").read_text(encoding="utf-8"))["runs"]:
            curves = {k: v for k, v in run["curves"].items() if k in sick_runs.COLUMNS}
            runs[name, run["name"]] = [dict(epoch=i + 1) | dict(zip(curves, values, strict=True))
                                       for i, values in enumerate(zip(*curves.values(), strict=True))]
    for head in ("fc", "gap"): assert named(runs["claims", f"{head}, D moved by G's step"]) == ["likely: D too weak"]
    assert named(runs["claims", "fc, minimax loss"], "minimax") == ["likely: vanished gradient"]
    assert not any(named(runs["claims", name]) for name in ("fc", "fc, seed 1", "fc, whole photographs"))
    for seed in (0, 1): assert named(runs["heads", f"fc, seed {seed}"]) == ["possible: D learns by heart"]


@pytest.mark.slow
def test_games_of_other_seeds():
    """The limits were chosen on seeds 0 to 11."""
    from gan_course.toy import ToyConfig, play

    right = 0
    for seed in (30, 31):
        assert not named(list(play(ToyConfig(steps=600, seed=seed), every=25)))
        for name, sick in sick_runs.SICK.items():
            config = ToyConfig(**(dict(steps=600, seed=seed) | sick))
            right += [f.name for f in diagnose(list(play(config, every=25)), config.loss)] == [name]
    assert right >= 9  # of 12


# ---- single rules

def test_a_game_that_was_won_is_not_a_weak_discriminator():
    """Both end at log 2; one of them begins there."""
    half = math.log(2)
    assert named(rows(d_loss_real=half, d_loss_fake=half, g_loss=half)) == ["likely: D too weak"]
    assert not named(rows(d_loss_real=[.3, .5, *[half] * 8], d_loss_fake=half, g_loss=half))


def test_the_level_of_guessing_is_that_of_the_loss():
    assert named(rows(d_loss_real=1., d_loss_fake=1.), "hinge") == ["likely: D too weak"]
    assert named(rows(d_loss_real=.125, d_loss_fake=.125), "lsgan") == ["likely: D too weak"]
    assert not named(rows(d_loss_real=-40., d_loss_fake=30., d_acc_fake=0., d_acc_real=1.), "wgan-gp")


def test_chance_is_not_learning_by_heart():
    assert named(rows(d_acc_real=.9, d_acc_real_test=[.77, .81] * 5)) == ["likely: D learns by heart"]
    assert named(rows(d_acc_real=.9, d_acc_real_test=[.82, .84] * 5)) == ["possible: D learns by heart"]
    assert not named(rows(d_acc_real=.9, d_acc_real_test=[.6, 1.] * 5))
    assert not named(rows(d_acc_real_test=None))


def test_who_guesses_knows_nothing_by_heart():
    half = math.log(2)
    assert named(rows(d_loss_real=half, d_loss_fake=half, d_acc_real=.9, d_acc_real_test=.7)) == ["likely: D too weak"]


def test_a_falling_loss_is_no_oscillation():
    down = [.3, .8, .9, 1., .9, .9, .8, .7, .6, .5]
    assert not named(rows(d_loss_real=down, d_loss_fake=down))
    assert named(rows(d_loss_real=[.3, .7, .5, .8, .4, .7, .3, .8, .5, .7])) == ["possible: oscillation"]


def test_a_fid_that_rises_is_said_with_its_epochs():
    worse = diagnose(rows(fid=[None, 80., None, 50., None, 60., None, 62., None, 70.]))
    assert [f.name for f in worse] == ["images become worse"] and "--epochs 4" in worse[0].cure
    assert "50.0 after epoch 4 and 70.0 after epoch 10" in worse[0].seen
    assert not diagnose(rows(fid=[None, 80., None, 50., None, 60., None, 62., None, 55.]))


@pytest.mark.parametrize("runaway", [math.nan, math.inf, 1e300, 10**400])
def test_a_loss_that_ran_away(runaway):
    assert named(rows(g_loss=[1.] * 9 + [runaway])) == ["likely: learning rate too high"]


def test_few_rows_say_nothing():
    assert not diagnose([]) and not diagnose(HISTORIES["run"]["lr_g tiny"][0][:LEAST - 1])


@pytest.mark.parametrize("wrong", [
    [{}] * 5, [dict(epoch=1)] * 5, rows(d_loss_real="0.5"), rows(g_loss=None), [dict(r, epoch=None) for r in rows()],
    [dict(r, epoch=math.nan) for r in rows()], rows()[:3] + [dict(step=3)], [1, 2, 3, 4], {}, None, "history"])
def test_what_is_no_history_is_refused_in_one_line(wrong):
    with pytest.raises(InputError) as e: diagnose(wrong)
    assert "\n" not in str(e.value)


def test_an_unknown_loss_is_refused():
    with pytest.raises(InputError, match="hinge"): diagnose(rows(), "hinges")


# ---- the command

def said(capsys, *args):
    main(["diagnose", *map(str, args)])
    return capsys.readouterr().out


def test_the_command_tells_what_was_seen_the_cure_and_the_settings_of_the_run(capsys, tmp_path):
    out = said(capsys, "cifar10-dcgan", "--json", tmp_path / "found.json")
    assert out.startswith("possible: D learns by heart\n") and "92% of its training images and on 86%" in out
    assert "--augment color,translation,cutout, or more images (now: augment none, limit none)\n" in out
    assert out.endswith("  read: lesson 20_birds\n" + f"written to {tmp_path / 'found.json'}\n")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["epochs"] == 50 and [f["name"] for f in found["found"]] == ["D learns by heart"]


def test_the_command_tells_what_the_curves_cannot_show(capsys):
    assert said(capsys, "toy-birds-dcgan") == (
        f"nothing looks sick in the curves of these 40 epochs; what they cannot show: {UNSEEN}\n")


def test_the_command_knows_the_loss_of_a_run(capsys, tmp_path):
    """Guessing costs 2 by the hinge loss."""
    folder = shutil.copytree(ready_folder() / "toy-birds-sagan", tmp_path / "r")
    write_history(folder / "history.csv", rows(25, d_loss_real=1., d_loss_fake=1.))
    assert said(capsys, folder).startswith("likely: D too weak\n")


def test_the_command_says_when_there_is_too_little_and_when_losses_are_the_users_own(capsys, run):
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(config | dict(steps=dict(d_step="mine"))))
    assert said(capsys, run.path).splitlines() == [
        "3 epochs are too few to tell anything from: train 4 or more",
        "this run was trained with steps of its own: its losses may mean something else"]
