"""What valid calls are made of: small, and made anew in the folder of each call."""
import contextlib
import importlib
import os
import shutil
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from gan_course import (
    core,
    dcgan,
    evaluation,
    fid,
    gradcam,
    latent,
    losses,
    runs,
    sagan,
    scenes,
    settings,
    sources,
    storage,
    toy,
    toybirds,
    training,
    widgets,
)

SMALL = dict(data="toy-birds", limit=16, base_channels=2, latent_dim=4, epochs=1, batch_size=8, samples=4,
             precision="float32")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    """Images of bytes."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


class Things:
    """Networks, images, runs and files, each made when it is first asked for."""

    trained: Path  # a run that is copied, see `train_once`

    def __init__(self, place: Path):
        self.place = place

    def fresh(self, name: str) -> Path:
        """A path at which nothing stands."""
        return self.place/name

    @cached_property
    def chance(self): return torch.Generator().manual_seed(1)

    @cached_property
    def birds(self): return toybirds.toy_birds(12, size=32)

    @cached_property
    def x(self): return pixels(4, 3, 32, 32)

    @cached_property
    def floats(self): return noise(4, 3, 32, 32).clamp(-1, 1)

    @cached_property
    def logits(self): return noise(6)

    @cached_property
    def G(self): return dcgan.Generator(32, 3, 4, 2)

    @cached_property
    def D(self): return dcgan.Discriminator(32, 3, 2)

    @cached_property
    def pair(self): return sagan.sagan(32, 3, 4, 8)

    @cached_property
    def critic(self): return toy.ToyDiscriminator(4, self.chance)

    @cached_property
    def z(self): return noise(4, 4)

    def adam(self, network: nn.Module): return torch.optim.Adam(network.parameters(), 1e-3)

    @cached_property
    def loss(self): return losses.get_loss("bce")

    @cached_property
    def config(self): return settings.with_defaults(settings.TrainConfig(**SMALL))

    # ---- statistics

    @cached_property
    def features(self): return noise(30, 5, seed=1)

    @cached_property
    def other_features(self): return noise(20, 5, seed=2) + .5

    def stats(self, features=None):
        stats = fid.FeatureStats("small", 100)
        stats.update(self.features if features is None else features)
        return stats

    @cached_property
    def gathered(self): return evaluation.gather(self.source, "small", 100, 8, False)

    @cached_property
    def cov(self): return torch.from_numpy(np.cov(self.features.numpy().T))

    @cached_property
    def given(self): return sources.GivenMoments(self.features.mean(0).numpy(), self.cov.numpy())

    @cached_property
    def source(self): return sources.from_images(self.birds)

    # ---- files

    @cached_property
    def folder(self) -> Path:
        """Six pictures in two classes."""
        for i in range(6):
            file = self.place/"pictures"/"ab"[i % 2]/f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(12, 12, 3, seed=i).numpy()).save(file)
        return self.place/"pictures"

    @cached_property
    def files(self): return sorted(self.folder.rglob("*.png"))

    @cached_property
    def image(self): return Image.open(self.files[0]).convert("RGB")

    @cached_property
    def tensors(self) -> Path:
        from safetensors.torch import save_file
        save_file({"a": self.z}, self.place/"a.safetensors")
        return self.place/"a.safetensors"

    @cached_property
    def rows(self) -> Path:
        np.save(self.place/"rows.npy", self.x.numpy())
        return self.place/"rows.npy"

    @cached_property
    def moments(self) -> Path:
        np.savez(self.place/"moments.npz", mu=self.given.mean, sigma=self.given.cov)
        return self.place/"moments.npz"

    @cached_property
    def table(self) -> Path:
        (self.place/"table.txt").write_text("1 a b\n2 c d\n")
        return self.place/"table.txt"

    @cached_property
    def cub(self) -> Path:
        """CUB-200-2011 with two photographs."""
        folder, names = self.place/"root"/"CUB_200_2011", ["001.A/one.jpg", "001.A/two.jpg"]
        (folder/"images"/"001.A").mkdir(parents=True)
        for name in names: Image.fromarray(pixels(20, 20, 3).numpy()).save(folder/"images"/name)
        lines = dict(images=names, train_test_split=["1", "0"], image_class_labels=["1", "1"],
                     bounding_boxes=["1.0 2.0 10.0 9.0"] * 2)
        for name, values in lines.items():
            (folder/f"{name}.txt").write_text("".join(f"{i} {v}\n" for i, v in enumerate(values, 1)))
        (folder/"classes.txt").write_text("1 001.A\n")
        return folder

    # ---- runs

    @cached_property
    def run_folder(self) -> Path:
        shutil.copytree(self.trained, self.place/"run")
        return self.place/"run"

    @cached_property
    def run(self): return runs.open_run(self.run_folder)

    @cached_property
    def training(self):
        """A training in progress, before its first step."""
        pair = self.run.images().subset(slice(16)), self.run.images("test").subset(slice(16))
        return training._prepare(self.run, *pair)

    # ---- views

    @cached_property
    def scene(self): return scenes.LatentScene(self.G, 2)

    @cached_property
    def state(self): return scenes.LatentState(end=1, t=.5)

    @cached_property
    def cams(self): return gradcam.cams(self.D, self.x, "features.0")

    @cached_property
    def nearest(self): return latent.nearest_real(self.x, self.birds.images, extractor="small")

    @cached_property
    def game(self): return list(toy.play(toy.ToyConfig(steps=2, batch_size=4, hidden=4), 1, 8))

    @cached_property
    def bird_scene(self): return toybirds.toy_scene(2, self.chance)

    @cached_property
    def browser(self): return widgets.EpochBrowser(self.run)


def warm_up() -> None:
    """Import what calls import, so that no fork has to, and look for fonts, which starts a program."""
    for name in ("accelerate", "onnx", "onnxruntime", "tensorboard", "torch._dynamo", "torch.func", "torch.onnx",
                 "torch.utils.tensorboard", "torchvision.datasets", "torch_fidelity", "tyro"):
        with contextlib.suppress(ImportError): importlib.import_module(name)
    core.new_figure(1, 1)[0].canvas.draw()
    torch.optim.Adam(nn.Linear(1, 1).parameters())


def train_once(base: Path) -> Path:
    """A run of one epoch, trained in a process of its own, so that this one stays without threads."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.environ["HOME"] = str(base)
            training.train(settings.TrainConfig(**SMALL), base/"trained", progress=False)
            status = 0
        finally: os._exit(status)
    if os.waitpid(pid, 0)[1]: raise RuntimeError("the small run could not be trained")
    return base/"trained"


__all__ = ["SMALL", "Things", "core", "noise", "pixels", "storage", "train_once", "warm_up"]
