"""Images a second: our loop against the loop of tutorials, the same networks and images, taking turns in one run.

    python bench/train_speed.py [--batch 128] [--steps 40] [--rounds 5] [--data cifar10]

The tutorial's loop: images as PIL through ToTensor and Normalize in a DataLoader with 2 workers, float32, the three
backward passes of PyTorch's DCGAN tutorial with a label tensor and BCEWithLogits, `.item()` on every loss of every
step. Ours: `run_epoch` of gan_course with its defaults (bf16 where it is quicker, channels last, uint8 images in
memory, flips, EMA), and the same in float32. After that: resident memory over the epochs of a real run. A GPU is used
where there is one.
"""
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from common import Options, alternate, ratios, read_options, report, resident
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from gan_course.data import load_images
from gan_course.dcgan import build_model
from gan_course.settings import TrainConfig
from gan_course.training import _prepare, run_epoch, train


@dataclass
class SpeedOptions(Options):
    TINY_SIZES = dict(data="toy-birds", limit=64, base_channels=8, batch=8, steps=2, warm_up=1, rounds=1, epochs=2)
    data: str = "cifar10"
    limit: int|None = None  # images to load
    base_channels: int = 64  # width of the networks
    batch: int = 128
    steps: int = 40  # of each round
    warm_up: int = 8  # steps of each round before these, not counted: workers start, threads wake up
    rounds: int = 5
    epochs: int = 6  # of at most 5000 images, over which memory is watched


class PilImages(Dataset):
    """Images one at a time, as tutorials load them from files."""
    def __init__(self, images):
        self.images = images.permute(0, 2, 3, 1).numpy()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((.5,) * 3, (.5,) * 3)])

    def __len__(self): return len(self.images)
    def __getitem__(self, i): return self.transform(Image.fromarray(self.images[i])), 0


class Tutorial:
    """The loop of PyTorch's DCGAN tutorial."""
    name = "tutorial loop, float32"

    def __init__(self, images, o):
        self.device, self.o = torch.device("cuda" if torch.cuda.is_available() else "cpu"), o
        self.G, self.D = (net.to(self.device) for net in build_model("dcgan", base_channels=o.base_channels))
        self.opt_g, self.opt_d = (torch.optim.Adam(net.parameters(), 2e-4, (.5, .999)) for net in (self.G, self.D))
        self.loader = DataLoader(PilImages(images.images), o.batch, shuffle=True, num_workers=2, drop_last=True)

    def round(self):
        """Images a second over `steps` steps."""
        started = 0.
        for i, (real, _) in enumerate(self.loader):
            if i == self.o.warm_up:
                started = time.perf_counter()
            self.step(real.to(self.device))
            if i + 1 == self.o.steps + self.o.warm_up:
                break
        return self.o.steps * self.o.batch / (time.perf_counter() - started)

    def step(self, real):
        label = torch.full((len(real),), 1., device=self.device)
        self.D.zero_grad()
        output = self.D(real)
        loss_real = F.binary_cross_entropy_with_logits(output, label)
        loss_real.backward()
        fake = self.G(torch.randn(len(real), 100, device=self.device))
        label.fill_(0.)
        output = self.D(fake.detach())
        loss_fake = F.binary_cross_entropy_with_logits(output, label)
        loss_fake.backward()
        self.opt_d.step()
        self.G.zero_grad()
        label.fill_(1.)
        loss_g = F.binary_cross_entropy_with_logits(self.D(fake), label)
        loss_g.backward()
        self.opt_g.step()
        return loss_real.item(), loss_fake.item(), loss_g.item()


class Ours:
    """`run_epoch` on as many images as a round has."""
    def __init__(self, images, o, precision, place):
        self.images, self.o = images, o
        config = TrainConfig(batch_size=o.batch, precision=precision, samples=1, base_channels=o.base_channels,
                             epochs=1, limit=o.batch)
        few = self.first(1)
        run = train(config, place/precision, images=few, progress=False)
        self.training = _prepare(run, few, None)
        self.name = f"ours, {run.config.precision}" + (" (default)" if precision == "auto" else "")

    def first(self, batches):
        """The images of so many batches."""
        n = batches * self.o.batch
        return self.images.subset(slice(n))

    def round(self):
        """Images a second over `steps` steps."""
        self.training.images = self.first(self.o.warm_up)
        run_epoch(self.training)
        self.training.images = self.first(self.o.steps)
        started = time.perf_counter()
        run_epoch(self.training)  # reads its sums at the end, so a GPU has finished
        return self.o.steps * self.o.batch / (time.perf_counter() - started)


def compare(images, o, place):
    """loop → median images a second, and how many times the tutorial's rate that is."""
    loops = [Tutorial(images, o), Ours(images, o, "auto", place), Ours(images, o, "float32", place)]
    seen = alternate({loop.name: loop.round for loop in loops}, o.rounds, warm_up=False)
    rates = {name: [t.result for t in timings] for name, timings in seen.items()}
    base = rates[Tutorial.name]
    return {name: {"images a second": statistics.median(r), **ratios(r, base)} for name, r in rates.items()}


def memory_over_epochs(images, o, place):
    """Resident MiB after each epoch of a run."""
    sizes = []
    def look(training, row): sizes.append(resident())
    config = TrainConfig(epochs=o.epochs, batch_size=o.batch, base_channels=o.base_channels)
    some = images.subset(torch.arange(min(5000, len(images))))
    train(config, place/"memory", images=some, on_epoch_end=[look], progress=False)
    return [dict(epoch=epoch, MiB=size) for epoch, size in enumerate(sizes, 1)]


def main():
    o = read_options(SpeedOptions, __doc__)
    images = load_images(o.data, limit=o.limit)
    where = "GPU" if torch.cuda.is_available() else "CPU"
    with tempfile.TemporaryDirectory() as place:
        speed = compare(images, o, Path(place))
        memory = memory_over_epochs(images, o, Path(place))
    title = f"DCGAN {images.img_size}×{images.img_size} on {images.name}, {where}; ratio to the tutorial's loop"
    report(o, {title: speed, "resident memory": memory}, peers=("torchvision", "accelerate"))


if __name__ == "__main__":
    main()
