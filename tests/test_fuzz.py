"""Hostile arguments of everything public, a few for each: a result, an `InputError` or a `TypeError` in one line.

`python bench/fuzz.py` makes thousands of such calls, and `--only NAME` those of one module or function."""
import json
import os
import subprocess
import sys

import pytest

from conftest import ROOT


def test_everything_public_has_a_valid_call():
    import fuzzing
    from fuzzing.calls import CALLS

    assert set(fuzzing.public()) == set(CALLS)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="each call is made in a fork, as Linux knows it")
def test_valid_calls_work_and_hostile_ones_are_refused_in_a_line(tmp_path):
    command = [sys.executable, ROOT/"bench/fuzz.py", "--calls", "700", "--commands", "40", "--threads", "1",
               "--out", tmp_path/"result.json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, env=env)
    assert (tmp_path/"result.json").exists(), done.stderr[-3000:]
    tables = json.loads((tmp_path/"result.json").read_text("utf-8"))
    assert "failures" not in tables, "\n".join(row["first"] for row in tables["failures"].values())
    assert tables["calls"]["hostile"]["calls"] == 740
