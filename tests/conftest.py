"""What the tests share."""
import shutil
import sys
from pathlib import Path

import pytest

from gan_course import training
from gan_course.runs import open_run
from gan_course.settings import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent  # of the commands: gan-course, torchrun, nbdev_export
# a training of some seconds, as options of `gan-course train`
SMALL = ["--limit", "200", "--base-channels", "4", "--batch-size", "32", "--samples", "9", "--precision", "float32"]
TINY = TrainConfig(data="toy-birds", limit=100, base_channels=4, batch_size=32, epochs=3, ema=.9, samples=9,
                   precision="float32")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty data root that load_images finds by itself."""
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A small run."""
    return training.train(TINY, tmp_path_factory.mktemp("runs") / "whole", progress=False)


@pytest.fixture
def run(whole, tmp_path):
    """A copy to spoil."""
    return open_run(shutil.copytree(whole.path, tmp_path / "r"))
