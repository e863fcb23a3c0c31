"""FIDs of the CIFAR-10 runs as they lie in the package, in float16: the numbers of the case study, in nbs/data/cifar10_fid.json.

    python bench/cifar10.py                 cifar10-dcgan and cifar10-sagan: 50,000 images of the best generator, the first 10,000
                                            of them as a row of their own; 10,000 images of the generators of other epochs
    python bench/cifar10.py --best          the best generators only
    python bench/cifar10.py --plain _runs/cifar10-dcgan --epochs 10 50
                                            10,000 images of the generators themselves, not of their averages, of the run that
                                            `gan-course train --recipe cifar10-dcgan` made

Against the 50,000 training images. 10,000 images take about nine minutes on two cores, the training images half an hour once.
What stands in the file already is not measured again, and what was interrupted goes on: statistics of every 10,000 images are kept
in the user's cache.
"""
import argparse
import json
from pathlib import Path

import torch

from gan_course import generate, load_images, open_run, ready_run
from gan_course.core import seeded, write_beside
from gan_course.data import data_root
from gan_course.fid import FeatureStats, Source, compare, digest, gather, real_stats

OUT = Path(__file__).resolve().parents[1]/"nbs/data/cifar10_fid.json"
READY = ("cifar10-dcgan", "cifar10-sagan")
FEW, MANY = 10_000, 50_000


def measured(out): return json.loads(out.read_text()) if out.exists() else []


def in_parts(name, epoch, G, n):
    "The images that `gan-course evaluate` makes from seed 0, in parts of which each is kept as it is done: statistics of the first part, then of all."
    z = torch.randn(n, G.latent_dim, generator=seeded(0, 7)).split(FEW)  # as `from_generator` draws them
    fake, weights = FeatureStats("inception", keep=FEW), digest(torch.cat([v.flatten().float() for v in G.state_dict().values()]))  # other weights, other images
    for i, part in enumerate(z):
        file = data_root()/"cache"/f"{name}-{epoch}-{weights}-{i}.safetensors"
        if not file.exists():
            source = Source(f"{name}, epoch {epoch}, part {i + 1} of {len(z)}", len(part), lambda size: (generate(G, x) for x in part.split(size)), "32×32")
            gather(source, keep=FEW if i == 0 else 0).save(file)
        fake.merge(FeatureStats.load(file))
        if i in (0, len(z) - 1): yield fake


def measure(name, epoch, G, n, out):
    "The row of `n` images of G, and that of the first 10,000 of them."
    def known(row): return (row["run"], row["epoch"], row["n_fake"])
    if {(name, epoch, FEW), (name, epoch, n)} <= {known(row) for row in measured(out)}: return
    real = real_stats(load_images("cifar10"))
    for fake in in_parts(name, epoch, G, n):
        row = dict(run=name, epoch=epoch, n_fake=fake.n, n_real=real.n, **{k: round(v, 6) for k, v in compare(fake, real).items()})
        rows = sorted([*(r for r in measured(out) if known(r) != known(row)), row], key=lambda r: (r["run"], r["n_fake"], r["epoch"]))
        with write_beside(out) as part: part.write_text("[\n" + ",\n".join(" " + json.dumps(r) for r in rows) + "\n]\n")
        print(row, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--best", action="store_true", help="only the best generator of each run")
    parser.add_argument("--only", nargs="+", default=READY, metavar="NAME", help="names of ready runs")
    parser.add_argument("--plain", type=Path, metavar="RUN", help="a run that is not packed")
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 50], help="of the plain generators")
    parser.add_argument("--out", type=Path, default=OUT)
    o = parser.parse_args()
    if o.plain:
        run = open_run(o.plain)
        for epoch in o.epochs: measure(f"{run.path.name} plain", epoch, run.generator(epoch, ema=False), FEW, o.out)
    else:
        for run in map(ready_run, o.only):
            for epoch in [run.best_epoch] if o.best else sorted(run.kept, reverse=True):
                measure(run.path.name, epoch, run.generator(epoch), MANY if epoch == run.best_epoch else FEW, o.out)
