"""What FID sees and misses on CIFAR-10 → 07_fid_distortions.json.

5000 training images are the reference (torch-fidelity's choice, numpy RandomState(2020)). Against them: other test
images, copied training images, blur, noise, and a set without half of the classes, n of each. 20,000 images go through
Inception: about ten to fifteen minutes on two cores. Features are kept in the folder of the runs, and read from there.
The oracle has to be FID 10.3233 ± 0.01, as torch-fidelity computes it.
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_course.core import seeded, to_float, to_uint8
from gan_course.data import load_images
from gan_course.evaluation import compare
from gan_course.features import extract_features
from gan_course.fid import FeatureStats, extrapolate, frechet_from_stats, kid, prdc
from gan_course.storage import atomic_write

from .common import StudyOptions, parsed, read_report, run_command, write_report

COMMAND = "python -m gan_course.studies.distortions"


@dataclass
class DistortionsOptions(StudyOptions):
    """How many images, and where."""

    runs: Path = Path("_runs/fid-distortions")  # folder of the features
    jobs: int = 1  # not used: there is one network, and it uses all cores
    n: int = 2500  # images of each distortion


@dataclass(frozen=True)
class Scale:
    """On which images the study is done, and how many of them."""

    data: str = "cifar10"
    extractor: str = "inception"
    n_real: int = 5000


def blurred(
    images: Tensor,  # (N,3,H,W) uint8
    sigma: float,  # of the Gauss bell, in pixels
) -> Tensor:
    """Images out of focus."""
    bell = torch.exp(-torch.arange(-3., 4)**2 / (2 * sigma**2))
    kernel = torch.outer(bell, bell) / bell.sum()**2
    x = F.pad(to_float(images), (3, 3, 3, 3), mode="replicate")
    return to_uint8(F.conv2d(x, kernel.expand(3, 1, 7, 7), groups=3))


def grainy(
    images: Tensor,  # (N,3,H,W) uint8
    deviation: float,  # of the noise; the images are in [-1,1]
) -> Tensor:
    """Images with noise in every pixel."""
    x = to_float(images)
    return to_uint8(x + deviation * torch.randn(x.shape, generator=seeded(5)))


DISTORTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "blur 0.5": lambda images: blurred(images, .5), "blur 1.0": lambda images: blurred(images, 1.),
    "noise 0.03": lambda images: grainy(images, .03), "noise 0.1": lambda images: grainy(images, .1)}


def kept_features(name: str, make: Callable[[], Tensor], folder: Path, extractor: str) -> Tensor:
    """Features of the images that `make` gives, from the folder if they are there."""
    file = folder/f"{name}.safetensors"
    if file.exists():
        return load_file(file)["features"]
    features = extract_features(make(), extractor)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as part:
        save_file({"features": features.contiguous()}, part)
    return features


def all_features(o: DistortionsOptions, scale: Scale) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Features of the training images, of the test images, and of each kind that is set against the first."""
    sets = {split: load_images(scale.data, split, progress=False) for split in ("train", "test")}
    n_real = min(scale.n_real, *(len(images) for images in sets.values()))
    def choice(n): return np.random.RandomState(2020).choice(n, n_real, replace=False)
    chosen = {split: choice(len(images)) for split, images in sets.items()}
    pixels = {split: images.images[chosen[split]] for split, images in sets.items()}

    def features(name, make): return kept_features(f"{scale.data}-{n_real}-{name}", make, o.runs, scale.extractor)
    train, test = (features(split, lambda split=split: pixels[split]) for split in ("train", "test"))
    labels, classes = sets["test"].labels, sets["test"].classes
    assert labels is not None and classes is not None
    half = labels[chosen["test"]] < len(classes) // 2
    kinds = {"other test images": test[:o.n], "copied training images": train[:o.n],
             "five classes of ten": test[half][:o.n]}
    base = pixels["test"][:o.n]
    for name, distort in DISTORTIONS.items():
        kinds[name] = features(f"{name}-{o.n}", lambda distort=distort: distort(base))
    return train, test, kinds


def main() -> None:
    """Everything, unless the file is there."""
    o = parsed(DistortionsOptions, COMMAND, __doc__)
    scale = Scale("toy-birds", "small", 400) if o.tiny else Scale()
    if o.tiny:
        o.n = 200
    file = o.out/"07_fid_distortions.json"
    if read_report(file):
        print(f"{file} is there already: give --out another place to make it anew")
        return
    train, test, made = all_features(o, scale)
    def stats(features, keep=0): return FeatureStats(scale.extractor, keep).update(features)
    reference, kinds = stats(train), {}
    for name, features in made.items():
        distance = frechet_from_stats(reference, stats(features))
        kinds[name] = dict(n=len(features), fid=distance, kid=kid(train, features)) | prdc(train, features)
        print(f"{name:24}" + "".join(f"  {k} {v:.4f}" for k, v in kinds[name].items()), flush=True)
    oracle = compare(stats(train, len(train)), stats(test, len(test)), 3)
    at_infinity, sizes, values = extrapolate(reference, test)
    print("oracle", oracle, "\nextrapolated", at_infinity, dict(zip(sizes, values, strict=True)))
    protocol = dict(data=scale.data, n_real=len(train), split="train", size="32×32", extractor=scale.extractor, k=5,
                    indices="RandomState(2020)")
    what = f"{len(train)} train (as generated) against {len(test)} test (as real), k = 3"
    write_report(file, COMMAND, o, protocol=protocol, kinds=kinds, oracle=dict(what=what) | oracle,
                 extrapolation=dict(at_infinity=at_infinity, sizes=sizes, values=values))
    print("written to", file)


if __name__ == "__main__":
    run_command(main)
