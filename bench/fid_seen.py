"""What FID sees and misses on CIFAR-10: the numbers of lesson 07, in nbs/data/fid_cifar10.json.

    python bench/fid_seen.py [--n 2500] [--features FOLDER]

5000 training images are the reference (the oracle's choice, numpy RandomState(2020)). Against them: other test images,
copied training images, blur, noise, and a set without five of the ten classes, n of each. 20,000 images go
through Inception: about ten to fifteen minutes on two cores. With --features the features are kept in that folder, and
read from there. The oracle printed at the end has to be FID 10.3233 ± 0.01, as torch-fidelity computes it.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from gan_course import fid
from gan_course.core import seeded, to_float, to_uint8
from gan_course.data import load_images

OUT = Path(__file__).resolve().parents[1] / "nbs/data/fid_cifar10.json"


def blurred(images, sigma):
    bell = torch.exp(-torch.arange(-3., 4)**2 / (2 * sigma**2))
    kernel = torch.outer(bell, bell) / bell.sum()**2
    x = F.pad(to_float(images), (3, 3, 3, 3), mode="replicate")
    return to_uint8(F.conv2d(x, kernel.expand(3, 1, 7, 7), groups=3))


def grainy(images, deviation):
    x = to_float(images)
    return to_uint8(x + deviation * torch.randn(x.shape, generator=seeded(5)))


def features(name, make, folder):
    file = folder and Path(folder) / f"{name}.pt"
    if file and file.exists(): return torch.load(file, weights_only=True)
    x = fid.extract_features(make())
    if file: torch.save(x, file)
    return x


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2500)
    parser.add_argument("--features", help="folder to keep features in")
    o = parser.parse_args()
    sets = {split: load_images("cifar10", split) for split in ("train", "test")}
    chosen = {s: np.random.RandomState(2020).choice(len(x), 5000, replace=False) for s, x in sets.items()}
    train, test = (features(f"o_{s}", lambda: x.images[chosen[s]], o.features) for s, x in sets.items())
    labels, base = sets["test"].labels[chosen["test"]], sets["test"].images[chosen["test"]][:o.n]
    made = {"other test images": test[:o.n], "copied training images": train[:o.n], "five classes of ten": test[labels < 5][:o.n]}
    for level, name in ((.5, "blur_05"), (1., "blur_1")): made[f"blur {level}"] = features(name, lambda: blurred(base, level), o.features)
    for level, name in ((.03, "noise_03"), (.1, "noise_1")): made[f"noise {level}"] = features(name, lambda: grainy(base, level), o.features)

    def stats(x): return fid.FeatureStats("inception").update(x)
    reference = stats(train)
    oracle = fid.compare(fid.FeatureStats("inception", 5000).update(train), fid.FeatureStats("inception", 5000).update(test), 3)
    kinds = {}
    for name, x in made.items():
        kinds[name] = dict(n=len(x), fid=fid.frechet_from_stats(reference, stats(x)), kid=fid.kid(train, x), **fid.prdc(train, x))
        print(f"{name:24}" + "".join(f"  {k} {v:.4f}" for k, v in kinds[name].items()), flush=True)
    at_infinity, sizes, values = fid.extrapolate(reference, test)
    print("oracle", oracle, "\nextrapolated", at_infinity, dict(zip(sizes, values)))
    protocol = dict(data="cifar10", n_real=5000, split="train", size="32×32", extractor="inception", k=5, indices="RandomState(2020)")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(dict(
        protocol=protocol, kinds=kinds, oracle=dict(what="5000 train (as generated) against 5000 test (as real), k = 3", **oracle),
        extrapolation=dict(at_infinity=at_infinity, sizes=sizes, values=values)), indent=1) + "\n")
    print("written to", OUT)
