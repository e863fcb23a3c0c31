"""FID of two folders: ours against pytorch-fid and torch-fidelity, alternating in one run, the same files and weights.

    python bench/fid_speed.py [--n 5000] [--part 1000] [--threads 2] [--data cifar10] [--parts whole distance memory]

n test images against n training images as PNG files, read in parts by one tool after the other. A tool's time for a side is
its median part times the number of parts: what disturbs fewer than half of the parts does not move the result. Timed apart:
the features and statistics of either side, and the distance; loading the network is not counted. With statistics of the real
side from the cache (ours: safetensors, the others': npz) only the other side is read. Below: the distance alone against
scipy.linalg.sqrtm at 2048 dimensions, and the peak memory of our statistics for 5000 and 20,000 images (with a random
projection in place of Inception, whose memory depends on the batch alone).
5000 against 5000 take about three quarters of an hour on two cores.
"""
import argparse
import contextlib
import functools
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from PIL import Image

from gan_course import fid
from gan_course.core import seeded
from gan_course.data import load_images


class Ours:
    name = "gan_course"

    def __init__(self): self.extractor = fid.get_extractor("inception", "cpu")
    def read(self, folder): return fid.gather(fid.from_folder(folder), self.extractor, keep=0, progress=False)
    def stats(self, parts): return functools.reduce(fid.FeatureStats.merge, parts)
    def distance(self, a, b): return fid.frechet_from_stats(a, b)
    def store(self, stats, file): stats.save(file)
    def load(self, file): return fid.FeatureStats.load(file)


class PytorchFid:
    name = "pytorch-fid"

    def __init__(self):
        import pytorch_fid.inception as inception
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(fid.INCEPTION_URL).name
        inception.load_state_dict_from_url = lambda *a, **k: torch.load(file, weights_only=True)  # the same weights: their parameters have the same names
        self.net = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])

    def read(self, folder):
        from pytorch_fid.fid_score import get_activations
        with contextlib.redirect_stderr(io.StringIO()): return get_activations(sorted(folder.iterdir()), self.net, 50, 2048, "cpu", 2)

    def stats(self, parts):
        x = np.concatenate(parts)
        return x.mean(0), np.cov(x, rowvar=False)

    def distance(self, a, b):
        from pytorch_fid.fid_score import calculate_frechet_distance
        with contextlib.redirect_stdout(io.StringIO()): return float(calculate_frechet_distance(*a, *b))

    def store(self, stats, file): np.savez(file, mu=stats[0], sigma=stats[1])
    def load(self, file):
        with np.load(file) as f: return f["mu"], f["sigma"]


class TorchFidelity:
    name = "torch-fidelity"

    def __init__(self):
        from torch_fidelity.utils import create_feature_extractor
        self.net = create_feature_extractor("inception-v3-compat", ["2048"], cuda=False, verbose=False)

    def read(self, folder):
        from torch_fidelity.utils import extract_featuresdict_from_input_id
        return extract_featuresdict_from_input_id(1, self.net, input1=str(folder), batch_size=64, cuda=False, verbose=False, save_cpu_ram=False)["2048"]

    def stats(self, parts):
        from torch_fidelity.metric_fid import fid_features_to_statistics
        return fid_features_to_statistics(torch.cat(parts))

    def distance(self, a, b):
        from torch_fidelity.metric_fid import fid_statistics_to_metric
        return fid_statistics_to_metric(a, b, False)["frechet_inception_distance"]

    def store(self, stats, file): np.savez(file, **stats)
    def load(self, file):
        with np.load(file) as f: return dict(f)


def clock(f, *args):
    started = time.perf_counter()
    result = f(*args)
    return result, time.perf_counter() - started


def write(images, place, part):
    """PNG files, `part` a folder; the folders."""
    for i, x in enumerate(images):
        folder = place / f"{i // part:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x.permute(1, 2, 0).squeeze(-1).numpy()).save(folder / f"{i:05d}.png")
    return sorted(place.iterdir())


def whole(o):
    tools = [Ours(), PytorchFid(), TorchFidelity()]
    seconds, read, results = ({tool.name: x() for tool in tools} for x in (lambda: {"fake": [], "real": []}, lambda: {"fake": [], "real": []}, dict))
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        for side, split in (("fake", "test"), ("real", "train")):
            images = load_images(o.data, split).images
            chosen = np.random.RandomState(2020).choice(len(images), min(o.n, len(images)), replace=False)
            for i, folder in enumerate(write(images[chosen], place / side, o.part)):
                for tool in tools[i % 3:] + tools[:i % 3]:
                    x, s = clock(tool.read, folder)
                    read[tool.name][side].append(x)
                    seconds[tool.name][side].append(s)
                    print(f"{side} {folder.name} {tool.name} {s:.1f} s", file=sys.stderr, flush=True)
        for tool in tools:
            (a, a_s), (b, b_s) = (clock(tool.stats, read[tool.name][side]) for side in ("fake", "real"))
            value, distance = clock(tool.distance, a, b)
            file = place / f"{tool.name}.{'safetensors' if tool.name == 'gan_course' else 'npz'}"
            tool.store(b, file)
            _, load = clock(tool.load, file)
            fake, real = (statistics.median(seconds[tool.name][side]) * len(seconds[tool.name][side]) + s for side, s in (("fake", a_s), ("real", b_s)))
            results[tool.name] = dict(value=value, whole=fake + real + distance, distance=distance, cached=fake + load + distance)
    print(f"{o.n} test against {o.n} training images of {o.data}, PNG files, {torch.get_num_threads()} threads, alternating every {o.part} images, median part times parts")
    print(f"{'':16} {'FID':>12} {'whole':>9} {'distance':>9} {'real cached':>12} {'ours is faster: whole':>23} {'cached':>8} {'cached against its whole':>25}")
    ours, *peers = results.values()
    for name, m in results.items():
        print(f"{name:16} {m['value']:12.6f} {m['whole']:7.1f} s {m['distance']:7.1f} s {m['cached']:10.1f} s {m['whole'] / ours['whole']:22.2f}× "
              f"{m['cached'] / ours['cached']:7.2f}× {m['whole'] / ours['cached']:24.2f}×")
    fastest = min(p["whole"] for p in peers)
    print(f"against the faster peer: whole {fastest / ours['whole']:.2f}×, with cached statistics {fastest / ours['cached']:.2f}× its whole, "
          f"{min(p['cached'] for p in peers) / ours['cached']:.2f}× its own cached run", flush=True)


def distances(rounds=2):
    g = seeded(0)
    mixing = torch.randn(2048, 2048, generator=g) * torch.logspace(-2, 0, 2048)
    covs = [(torch.randn(5000, 2048, generator=g) @ mixing).T.cov().double() for _ in range(2)]
    zero = torch.zeros(2048)
    ours, theirs = [], []
    for _ in range(rounds):
        value, seconds = clock(fid.frechet_distance, zero, covs[0], zero, covs[1])
        ours.append(seconds)
        root, seconds = clock(scipy.linalg.sqrtm, (covs[0] @ covs[1]).numpy())
        theirs.append(seconds)
    other = (covs[0].trace() + covs[1].trace()).item() - 2 * np.trace(root).real
    print(f"\ndistance alone, 2048×2048: ours {min(ours):.2f} s, scipy.linalg.sqrtm {min(theirs):.2f} s, ratio {min(theirs) / min(ours):.1f} "
          f"(same to {abs(value - other) / other:.0e})")


MEMORY = """
import sys, torch
from gan_course import fid
n, keep = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
class Projection:
    name, dim, version = "projection", 2048, "1"
    weights = torch.randn(3 * 32 * 32, 2048) / 50
    def __call__(self, x): return x.flatten(1).float() @ self.weights
batches = lambda size: (torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8) for _ in range(n // size))
s = fid.gather(fid.Source("noise", n, batches, "32x32"), Projection(), keep, 50, False)
def peak(): return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss counts the parent's, too
before = peak()
fid.frechet_from_stats(s, s)
print(before, peak())
"""


def memory():
    print("\npeak memory of one side, MiB (its statistics, then with the distance)")
    for keep, what in ((0, "FID alone"), (10_000, "with 10,000 features held for KID and precision")):
        for n in (5000, 20_000):
            done = subprocess.run([sys.executable, "-c", MEMORY, str(n), str(keep)], capture_output=True, text=True, check=True)
            before, after = map(float, done.stdout.split())
            print(f"  {what:48} {n:6,} images: {before:6.0f}  {after:6.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("n", 5000), ("part", 1000), ("threads", min(2, os.cpu_count()))): parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--parts", nargs="+", choices=("whole", "distance", "memory"), default=("whole", "distance", "memory"))
    o = parser.parse_args()
    if o.n % o.part: parser.error(f"--n {o.n} is no multiple of --part {o.part}")
    torch.set_num_threads(o.threads)
    warnings.simplefilter("ignore")  # few images, when --n is small
    if "whole" in o.parts: whole(o)
    if "distance" in o.parts: distances()
    if "memory" in o.parts: memory()
