"""Images a second: our loop against the loop of tutorials, the same networks and images, alternating in one run.

    python bench/train_speed.py [--batch 128] [--steps 40] [--rounds 5] [--data cifar10]

The tutorial's loop: images as PIL through ToTensor and Normalize in a DataLoader with 2 workers, float32, the three
backward passes of PyTorch's DCGAN tutorial with a label tensor and BCEWithLogits, `.item()` on every loss of every step.
Ours: `run_epoch` of gan_course.train with its defaults (bf16 where it is quicker, channels last, uint8 images in memory,
flips, EMA), and the same in float32. After that: memory over epochs of a real run.
"""
import argparse
import dataclasses
import gc
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from gan_course import train as T
from gan_course.data import load_images
from gan_course.dcgan import build_model

WARM_UP = 8  # steps of each round that are not counted: workers start, threads wake up


class PilImages(Dataset):
    def __init__(self, images):
        self.images = images.permute(0, 2, 3, 1).numpy()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((.5,) * 3, (.5,) * 3)])

    def __len__(self): return len(self.images)
    def __getitem__(self, i): return self.transform(Image.fromarray(self.images[i])), 0


class Tutorial:
    name = "tutorial loop, float32"

    def __init__(self, images, batch, device):
        self.device, self.batch = device, batch
        self.G, self.D = (m.to(device) for m in build_model("dcgan"))
        self.opt_g, self.opt_d = (torch.optim.Adam(m.parameters(), 2e-4, (.5, .999)) for m in (self.G, self.D))
        self.loader = DataLoader(PilImages(images.images), batch, shuffle=True, num_workers=2, drop_last=True)

    def round(self, steps):
        for i, (real, _) in enumerate(self.loader):
            if i == WARM_UP: started = time.perf_counter()
            self.step(real.to(self.device))
            if i + 1 == steps + WARM_UP: break
        return steps * self.batch / (time.perf_counter() - started)

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
    def __init__(self, images, batch, precision, place):
        self.images, self.batch = images, batch
        config = T.TrainConfig(batch_size=batch, precision=precision, samples=1, limit=images.images.shape[0])
        few = dataclasses.replace(images, images=images.images[:batch], labels=None)
        run = T.train(dataclasses.replace(config, epochs=1, limit=batch), place / precision, images=few, progress=False)
        self.t = T._prepare(run, few, None)
        self.name = f"ours, {run.config.precision}" + (" (default)" if precision == "auto" else "")

    def round(self, steps):
        def some(n): return dataclasses.replace(self.images, images=self.images.images[:n * self.batch], labels=None)
        self.t.images = some(WARM_UP)
        T.run_epoch(self.t)
        self.t.images = some(steps)
        started = time.perf_counter()
        T.run_epoch(self.t)  # reads its sums at the end, so a GPU has finished
        return steps * self.batch / (time.perf_counter() - started)


def memory_over_epochs(images, place, epochs=6):
    sizes = []
    def note(training, row):
        gc.collect()
        sizes.append(psutil.Process().memory_info().rss / 2**20)
    T.train(T.TrainConfig(epochs=epochs, batch_size=128), place / "memory", images=images.subset(torch.arange(5000)), on_epoch_end=[note], progress=False)
    return sizes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 128), ("steps", 40), ("rounds", 5)): parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--data", default="cifar10")
    o = parser.parse_args()
    images = load_images(o.data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        loops = [Tutorial(images, o.batch, device), Ours(images, o.batch, "auto", place), Ours(images, o.batch, "float32", place)]
        rates = {loop.name: [] for loop in loops}
        for _ in range(o.rounds):
            for loop in loops: rates[loop.name].append(loop.round(o.steps))
        base = rates[loops[0].name]
        where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
        print(f"DCGAN {images.img_size}×{images.img_size}, base_channels 64, batch {o.batch}, {images.name}, {where}, {o.rounds} rounds of {o.steps} steps, alternating")
        print(f"{'loop':28} {'images/s (median)':>18} {'ratio (median of rounds)':>26} {'least … most':>16}")
        for name, r in rates.items():
            ratios = [a / b for a, b in zip(r, base)]
            print(f"{name:28} {statistics.median(r):18.0f} {statistics.median(ratios):26.2f} {min(ratios):9.2f} … {max(ratios):.2f}")
        sizes = memory_over_epochs(images, place)
    print("resident memory after each of six epochs, MiB:", " ".join(f"{s:.0f}" for s in sizes), f"→ {sizes[-1] - sizes[1]:+.0f} from epoch 2 to 6")
