"""Every bench runs with `--tiny`, says where its figures come from, and leaves the files of the repository alone."""
import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch

from conftest import ROOT

BENCHES = [p.stem for p in sorted((ROOT/"bench").glob("*.py")) if p.stem != "common"]
ABOUT = ["command", "commit", "date", "versions", "hardware", "threads", "tiny", "options"]
MORE = {"resume_after_kill": ["--seed", str(os.getpid())]}  # other moments each time


@pytest.fixture(scope="module")
def common():
    """bench/common.py as a module; the benches find it beside themselves."""
    spec = importlib.util.spec_from_file_location("bench_common", ROOT/"bench/common.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def run_bench(name, *args, cwd):
    """The bench as a person starts it, in another folder; what it printed."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT/f"bench/{name}.py", *args]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def written_files():
    """The files that benches write by default → when they were changed."""
    folders = "nbs/data", "gan_course/judges", "bench"
    return {p: p.stat().st_mtime_ns for folder in folders for p in (ROOT/folder).glob("*.*")}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="one bench forks its processes")
@pytest.mark.parametrize("name", BENCHES)
def test_a_tiny_bench_runs_and_says_where_its_figures_come_from(name, tmp_path):
    before = written_files()
    printed = run_bench(name, "--tiny", "--out", "result.json", *MORE.get(name, []), cwd=tmp_path)
    result = json.loads((tmp_path/"result.json").read_text("utf-8"))
    about, tables = result.pop("about"), result
    assert written_files() == before
    assert [line.split()[0] for line in printed.splitlines()[:len(ABOUT)]] == ABOUT == list(about)
    assert about["command"].startswith(f"python bench/{name}.py --tiny") and about["tiny"].startswith("yes")
    assert {"gan_course", "torch", "Python"} <= about["versions"].keys() and about["hardware"]["cores"] >= 1
    assert tables and all(tables.values())
    for title, rows in tables.items():
        head = printed.split(f"\n{title} (tiny)\n", 1)[1].splitlines()
        assert head[1].startswith("|-") and len(head) >= 2 + len(rows)


def test_works_take_turns(common):
    calls = []
    seen = common.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, warm_up=False)
    assert "".join(calls) == "abbaab" and all(len(timings) == 3 for timings in seen.values())


def test_a_ratio_is_taken_round_by_round(common):
    slow_minute = common.ratios([2., 20., 2.], [1., 10., 4.])
    assert slow_minute == dict(ratio=2., least=.5, most=2.)


def test_a_peak_that_is_given_back_is_seen(common):
    with common.watched_memory() as memory:
        torch.ones(64, 2**20, dtype=torch.uint8).sum()
    assert 60 < memory.growth < 600


def test_what_is_not_installed_is_named(common):
    assert common.versions(["no-such-peer"])["no-such-peer"] == "not installed"


def test_a_table_has_every_column_of_its_rows(common, capsys):
    common.print_table([{"way": "ours", "s": 1.23456}, {"way": "theirs", "note": "left out"}])
    lines = capsys.readouterr().out.splitlines()
    assert [[c.strip() for c in line.strip("|").split("|")] for line in lines if "---" not in line] == [
        ["way", "s", "note"], ["ours", "1.235", "-"], ["theirs", "-", "left out"]]
