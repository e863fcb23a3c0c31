"""A course on Generative Adversarial Networks that runs: lessons in `nbs/`, this package made from them."""
__version__ = "0.1.0"

import importlib

# names one reaches for first; their modules (and torch) are imported when they are asked for
_LAZY = {
    "TrainConfig": "train", "resume": "train", "open_run": "train", "ready_run": "train", "recipe": "train", "generate": "train",
    "load_images": "data", "ImageSet": "data", "build_model": "dcgan", "register_model": "dcgan", "get_loss": "losses",
    "InputError": "core", "show_images": "core", "evaluate": "fid", "explain": "gradcam", "cam": "gradcam",
    "LatentExplorer": "widgets", "EpochBrowser": "widgets", "latent_walk_html": "widgets", "epoch_browser_html": "widgets",
}


def __getattr__(name):
    if name not in _LAZY: raise AttributeError(f"module 'gan_course' has no attribute '{name}'")
    return getattr(importlib.import_module(f"gan_course.{_LAZY[name]}"), name)


def __dir__():
    return sorted({*globals(), *_LAZY})
