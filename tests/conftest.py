"""What the tests share."""
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent  # of the commands: gan-course, torchrun, nbdev_export
# a training of some seconds, as options of `gan-course train`
SMALL = ["--limit", "200", "--base-channels", "4", "--batch-size", "32", "--samples", "9", "--precision", "float32"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data root that load_images finds by itself."""
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path / "root"))
    return tmp_path / "root"
