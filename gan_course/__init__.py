"""A course on Generative Adversarial Networks that runs: lessons in `nbs/`, this package made from them."""
__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a type checker and an editor see
    from .core import ImageSet as ImageSet
    from .core import InputError as InputError
    from .core import show_images as show_images
    from .data import load_images as load_images
    from .dcgan import build_model as build_model
    from .dcgan import register_model as register_model
    from .diagnosis import diagnose as diagnose
    from .embed import epoch_browser_html as epoch_browser_html
    from .embed import latent_walk_html as latent_walk_html
    from .evaluation import evaluate as evaluate
    from .evaluation import fid_hook as fid_hook
    from .exercises import check as check
    from .exercises import hint as hint
    from .exercises import progress as progress
    from .exercises import solution as solution
    from .export import export_run as export_run
    from .fid import FeatureStats as FeatureStats
    from .fid import frechet_distance as frechet_distance
    from .fid import kid as kid
    from .fid import prdc as prdc
    from .gradcam import cam as cam
    from .gradcam import explain as explain
    from .losses import get_loss as get_loss
    from .runs import open_run as open_run
    from .runs import ready_run as ready_run
    from .settings import TrainConfig as TrainConfig
    from .settings import recipe as recipe
    from .steps import generate as generate
    from .training import resume as resume
    from .training import train as train
    from .widgets import EpochBrowser as EpochBrowser
    from .widgets import LatentExplorer as LatentExplorer

# module → the names that one reaches for first; a module (and torch with it) is imported when it is asked for
_NAMES = {
    "core": "ImageSet InputError show_images",
    "data": "load_images",
    "dcgan": "build_model register_model",
    "diagnosis": "diagnose",
    "embed": "epoch_browser_html latent_walk_html",
    "evaluation": "evaluate fid_hook",
    "exercises": "check hint progress solution",
    "export": "export_run",
    "fid": "FeatureStats frechet_distance kid prdc",
    "gradcam": "cam explain",
    "losses": "get_loss",
    "runs": "open_run ready_run",
    "settings": "TrainConfig recipe",
    "steps": "generate",
    "training": "resume train",
    "widgets": "EpochBrowser LatentExplorer",
}
_LAZY = {name: module for module, names in _NAMES.items() for name in names.split()}
_MODULES = ("features", "guards", "imagefiles", "labels", "latent", "locks", "networks", "probing", "processes",
            "runfiles", "sagan", "scenes", "session", "sources", "storage", "studies", "toy", "toybirds", *_NAMES)


def __getattr__(name):
    if name in _LAZY: return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    if name in _MODULES: return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_LAZY, *_MODULES})
