"""FID of two folders: ours against pytorch-fid and torch-fidelity, taking turns in one run, the same files and weights.

    python bench/fid_speed.py [--n 5000] [--part 1000] [--threads 2] [--data cifar10] [--parts whole distance memory]

whole: n test images against n training images as PNG files, read in parts by one tool after the other. A tool's time
for a side is its median part times the number of parts: what disturbs fewer than half of the parts does not move the
result. Timed apart: the features and statistics of either side, and the distance; loading the network is not counted.
With statistics of the real side from the cache (ours: safetensors, the others': npz) only the other side is read.

distance: the distance alone against scipy.linalg.sqrtm at 2048 dimensions.

memory: the peak memory of our statistics for 5000 and 20,000 images (with a random projection in place of Inception,
whose memory depends on the batch alone).

5000 against 5000 take about three quarters of an hour on two cores.
"""
import contextlib
import functools
import io
import statistics
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from common import Options, alternate, clock, in_new_process, note, ratios, read_options, report, watched_memory
from PIL import Image

from gan_course.core import seeded
from gan_course.data import load_images
from gan_course.evaluation import gather
from gan_course.features import INCEPTION_URL, get_extractor
from gan_course.fid import FeatureStats, frechet_distance, frechet_from_stats
from gan_course.sources import Source, from_folder


@dataclass
class FidOptions(Options):
    TINY_SIZES = dict(n=32, part=16, data="toy-birds", extractor="small", dim=32, rounds=1, memory_images=(100,))
    n: int = 5000  # images of either side
    part: int = 1000  # images read before it is the next tool's turn
    data: str = "cifar10"
    extractor: Literal["inception", "small"] = "inception"  # the peers know Inception only
    parts: tuple[Literal["whole", "distance", "memory"], ...] = ("whole", "distance", "memory")
    dim: int = 2048  # of the distance alone
    rounds: int = 2  # of the distance alone
    memory_images: tuple[int, ...] = (5000, 20_000)


class Ours:
    name, suffix = "gan_course", "safetensors"

    def __init__(self, extractor): self.extractor = get_extractor(extractor, "cpu")
    def read(self, folder): return gather(from_folder(folder), self.extractor, keep=0, progress=False)
    def stats(self, parts): return functools.reduce(FeatureStats.merge, parts)
    def distance(self, a, b): return frechet_from_stats(a, b)
    def store(self, stats, file): stats.save(file)
    def load(self, file): return FeatureStats.load(file)


class PytorchFid:
    name, suffix = "pytorch-fid", "npz"

    def __init__(self):
        from pytorch_fid import inception
        weights = Path(torch.hub.get_dir())/"checkpoints"/Path(INCEPTION_URL).name
        # the same weights as the others': their parameters have the same names
        inception.load_state_dict_from_url = lambda *args, **kwargs: torch.load(weights, weights_only=True)
        self.net = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])

    def read(self, folder):
        from pytorch_fid.fid_score import get_activations
        with contextlib.redirect_stderr(io.StringIO()):
            return get_activations(sorted(folder.iterdir()), self.net, 50, 2048, "cpu", 2)

    def stats(self, parts):
        x = np.concatenate(parts)
        return x.mean(0), np.cov(x, rowvar=False)

    def distance(self, a, b):
        from pytorch_fid.fid_score import calculate_frechet_distance
        with contextlib.redirect_stdout(io.StringIO()):
            return float(calculate_frechet_distance(*a, *b))

    def store(self, stats, file): np.savez(file, mu=stats[0], sigma=stats[1])

    def load(self, file):
        with np.load(file) as f:
            return f["mu"], f["sigma"]


class TorchFidelity:
    name, suffix = "torch-fidelity", "npz"

    def __init__(self):
        from torch_fidelity.utils import create_feature_extractor
        self.net = create_feature_extractor("inception-v3-compat", ["2048"], cuda=False, verbose=False)

    def read(self, folder):
        from torch_fidelity.utils import extract_featuresdict_from_input_id
        how = dict(batch_size=64, cuda=False, verbose=False, save_cpu_ram=False)
        return extract_featuresdict_from_input_id(1, self.net, input1=str(folder), **how)["2048"]

    def stats(self, parts):
        from torch_fidelity.metric_fid import fid_features_to_statistics
        return fid_features_to_statistics(torch.cat(parts))

    def distance(self, a, b):
        from torch_fidelity.metric_fid import fid_statistics_to_metric
        return fid_statistics_to_metric(a, b, False)["frechet_inception_distance"]

    def store(self, stats, file): np.savez(file, **stats)

    def load(self, file):
        with np.load(file) as f:
            return dict(f)


PEERS = {peer.name: peer for peer in (PytorchFid, TorchFidelity)}


def find_tools(extractor):
    """The tools that can run here, and name → why not, for the others."""
    tools: list[Any] = [Ours(extractor)]
    left_out = {}
    for name, peer in PEERS.items():
        if extractor != "inception":
            left_out[name] = "left out: it needs the weights of Inception"
            continue
        try:
            tools.append(peer())
        except ImportError as e:
            left_out[name] = f"left out: {e}"
    return tools, left_out


def write_images(images, place, part):
    """PNG files, `part` a folder; the folders."""
    for i, x in enumerate(images):
        folder = place/f"{i // part:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x.permute(1, 2, 0).squeeze(-1).numpy()).save(folder/f"{i:05d}.png")
    return sorted(place.iterdir())


def read_in_turns(tools, folders):
    """tool's name → Timings of the folders; another tool is first each time."""
    seen = {tool.name: [] for tool in tools}
    for i, folder in enumerate(folders):
        first = i % len(tools)
        for tool in tools[first:] + tools[:first]:
            timing = clock(lambda tool=tool, folder=folder: tool.read(folder))
            seen[tool.name].append(timing)
            note(f"{folder.parent.name} {folder.name} {tool.name} {timing.wall:.1f} s")
    return seen


def chosen_images(data, split, n):
    """n images of a split, the same each time."""
    images = load_images(data, split).images
    return images[np.random.RandomState(2020).choice(len(images), min(n, len(images)), replace=False)]


def add_up(tool, fake, real, place):
    """A row: the FID, and the seconds of its pieces, from the Timings of the parts of both sides."""
    fake_stats, real_stats = (clock(lambda side=side: tool.stats([t.result for t in side])) for side in (fake, real))
    distance = clock(lambda: tool.distance(fake_stats.result, real_stats.result))
    file = place/f"{tool.name}.{tool.suffix}"
    tool.store(real_stats.result, file)
    loaded = clock(lambda: tool.load(file))
    fake_s, real_s = (statistics.median(t.wall for t in side) * len(side) for side in (fake, real))
    fake_s, real_s = fake_s + fake_stats.wall, real_s + real_stats.wall
    return {
        "FID": f"{distance.result:.6f}", "whole s": fake_s + real_s + distance.wall, "distance s": distance.wall,
        "real cached s": fake_s + loaded.wall + distance.wall}


def compare_tools(o):
    """tool → its row, with how many times as fast ours is."""
    tools, left_out = find_tools(o.extractor)
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)

        def read_side(side, split):
            folders = write_images(chosen_images(o.data, split, o.n), place/side, o.part)
            return read_in_turns(tools, folders)
        fake, real = read_side("fake", "test"), read_side("real", "train")
        rows = {tool.name: add_up(tool, fake[tool.name], real[tool.name], place) for tool in tools}
    whole, cached = (rows[Ours.name][column] for column in ("whole s", "real cached s"))
    for row in rows.values():
        row |= {"ours is faster: whole": row["whole s"] / whole, "cached": row["real cached s"] / cached,
                "cached against its whole": row["whole s"] / cached}
    return rows | {name: {"note": why} for name, why in left_out.items()}


def compare_distances(dim, rounds):
    """way → its row: the distance alone, and its value."""
    from scipy.linalg import sqrtm
    g = seeded(0)
    mixing = torch.randn(dim, dim, generator=g) * torch.logspace(-2, 0, dim)
    a, b = ((torch.randn(5000, dim, generator=g) @ mixing).T.cov().double() for _ in range(2))
    zero = torch.zeros(dim)

    def by_sqrtm(): return (a.trace() + b.trace()).item() - 2 * np.trace(sqrtm((a @ b).numpy())).real
    ways = {"ours": lambda: frechet_distance(zero, a, zero, b), "scipy.linalg.sqrtm": by_sqrtm}
    seen = alternate(ways, rounds, warm_up=False)
    seconds = {name: [t.wall for t in timings] for name, timings in seen.items()}
    value = {name: timings[-1].result for name, timings in seen.items()}
    rows = {}
    for name, s in seconds.items():
        off = abs(value[name] - value["ours"]) / value["ours"]
        rows[name] = {"seconds": statistics.median(s), **ratios(s, seconds["ours"]), "differs by the share": off}
    return rows


class Projection:
    """An extractor of 2048 numbers that costs nothing."""
    name, dim, version = "projection", 2048, "1"

    def __init__(self): self.weights = torch.randn(3 * 32 * 32, self.dim) / 50
    def __call__(self, x): return x.flatten(1).float() @ self.weights


def peak_memory(n, keep):
    """Peak MiB of this process: with the statistics of n images, and with the distance as well; on one thread."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # few images

    def noise(size): return (torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8) for _ in range(n // size))
    with watched_memory() as both:
        with watched_memory() as one:
            stats = gather(Source("noise", n, noise, "32×32"), Projection(), keep, 50, False)
        frechet_from_stats(stats, stats)
    return one.peak, both.peak


def memory_rows(counts):
    """A row each for few and many images, with and without the features that KID and precision need."""
    rows = []
    for keep, what in ((0, "FID alone"), (10_000, "10,000 features held for KID and precision")):
        for n in counts:
            one, both = in_new_process(peak_memory, n, keep)
            rows.append({"what": what, "images": n, "statistics MiB": one, "with the distance MiB": both})
    return rows


def main():
    o = read_options(FidOptions, __doc__)
    if o.n % o.part:
        sys.exit(f"--n {o.n} is no multiple of --part {o.part}")
    warnings.simplefilter("ignore")  # few images, when --n is small
    tables = {}
    if "whole" in o.parts:
        tables[f"{o.n} test against {o.n} training images of {o.data}, PNG files"] = compare_tools(o)
    if "distance" in o.parts:
        tables[f"distance alone, {o.dim}×{o.dim}; ratio to ours"] = compare_distances(o.dim, o.rounds)
    if "memory" in o.parts:
        tables["peak memory of one side"] = memory_rows(o.memory_images)
    report(o, tables, peers=("scipy", *PEERS))


if __name__ == "__main__":
    main()
