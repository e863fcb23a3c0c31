"""The runs of the case study 20_birds: DCGAN on CUB-200-2011, two heads, single changes, and means against few images.

    python bench/birds.py heads      64×64, heads gap and fc, two seeds each: 590,000 images a run, about an hour of one core
    python bench/birds.py claims     32×32, head gap, one change at a time: 150,000 images a run, some minutes of one core
    python bench/birds.py few        32×32, head fc, means for small data sets, one at a time: 300,000 images a run
    python bench/birds.py heat       where the discriminators of the runs of `heads` look, and that of whole photographs: some minutes
    python bench/birds.py heads claims few heat --tiny    everything at toy size, into a temporary folder: does the script work?

The first three write nbs/data/birds_GROUP.json: settings, losses by epoch, and FID, KID, precision, recall and coverage of 2,000 images
of the generator's average against the training images. A run that is complete is not done again, one that was interrupted
goes on, and a measured one is not measured again. `heat` takes the held-out images with their boxes: birds_heat.json has
the shares by run, epoch, layer and method, birds_heat.csv those of every image for the last epoch of seed 0. Two runs at once,
a core each, finish sooner than one after the other (--jobs).
"""
import argparse
import concurrent.futures
import csv
import dataclasses
import functools
import json
import multiprocessing
import os
import tempfile
from pathlib import Path

import torch
from torch import nn

from gan_course import train as T
from gan_course.core import write_beside
from gan_course.data import load_images
from gan_course.dcgan import Discriminator, dcgan, register_model
from gan_course.fid import compare, from_generator, gather, kid_error, real_stats
from gan_course.gradcam import METHODS, explain, heat_share

ROOT = Path(__file__).resolve().parents[1]
SMALL = T.TrainConfig(data="cub200", size=32, base_channels=32, epochs=200, precision="bf16", samples=16)  # 200 · 1,500 images
LARGE = dataclasses.replace(SMALL, size=64, epochs=394, samples=64, keep_every=50)
UNFROZEN = "d-not-frozen"  # the one change that is no setting: see `moving_both`


class SummingDiscriminator(Discriminator):
    "Head gap with a sum over positions in place of the mean."
    def forward(self, x, labels=None): return self.head(self.features(x).sum((2, 3))).squeeze(1)


def summing(img_size, img_channels, latent_dim, base_channels, head):
    return dcgan(img_size, img_channels, latent_dim, base_channels, head)[0], SummingDiscriminator(img_size, img_channels, base_channels, head)


def torch_init(*shape):
    "PyTorch's own initial weights in place of N(0, 0.02²)."
    pair = dcgan(*shape)
    for net in pair: net.own_init = True
    return pair


def without_batch_norm(*shape):
    "No batch norm in D."
    G, D = dcgan(*shape)
    D.features = nn.Sequential(*(layer for layer in D.features if not isinstance(layer, nn.BatchNorm2d)))
    return G, D


for name, build in (("dcgan-sum", summing), ("dcgan-torch-init", torch_init), ("dcgan-no-bn", without_batch_norm)): register_model(name, build)


def moving_both():
    "A step of G that forgets to freeze D: Adam with the settings of G's moves D's weights too, so that both lower G's loss."
    optimisers = {}
    def step(D, opt_g, fake, loss, real=None, backward=torch.Tensor.backward, view=None):
        opt_d = optimisers.setdefault(id(D), torch.optim.Adam(D.parameters(), SMALL_LR, (.5, .999)))
        g_loss = loss.g(D(fake), None)
        for opt in (opt_g, opt_d): opt.zero_grad()
        backward(g_loss)
        for opt in (opt_g, opt_d): opt.step()
        return dict(g_loss=g_loss.detach())
    return step


SMALL_LR = T.with_defaults(SMALL).lr_d
GROUPS = {
    "heads": {f"{head}-{seed}": dataclasses.replace(LARGE, head=head, seed=seed) for head in ("gap", "fc") for seed in (0, 1)},
    "claims": {name: dataclasses.replace(SMALL, **dict(head="gap", epochs=100) | change) for name, change in {
        "gap": {}, "gap, seed 1": dict(seed=1), "fc": dict(head="fc"), "fc, seed 1": dict(head="fc", seed=1),
        "sum": dict(model="dcgan-sum"), "PyTorch's initial weights": dict(model="dcgan-torch-init"), "no batch norm in D": dict(model="dcgan-no-bn"),
        "lr of D × 4": dict(lr_d=4 * SMALL_LR), "lr of G × 4": dict(lr_g=4 * SMALL_LR), "whole photographs": dict(crop="whole"),
        "minimax loss": dict(loss="minimax"), UNFROZEN: {}}.items()},
    "few": {name: dataclasses.replace(SMALL, **dict(ema=0.) | change) for name, change in {
        "nothing": {}, "nothing, seed 1": dict(seed=1), "augmentation": dict(augment="color,translation,cutout"), "R1": dict(r1=.1),
        "spectral norm": dict(model="dcgan-sn"), "EMA": dict(ema=.999), "all four": dict(augment="color,translation,cutout", r1=.1, model="dcgan-sn", ema=.999)}.items()},
}


def measured(run, n):
    "FID, KID with its error, precision, recall, density, coverage of the run's last average; read if it was measured before."
    file = run.path/"measured.json"
    if not file.exists():
        c = run.config
        real = real_stats(load_images(c.data, "train", size=c.size, crop=c.crop, limit=c.limit), "inception", progress=False)
        fake = gather(from_generator(run.generator("last"), n, 0, run.path.name), "inception", progress=False)
        values = compare(fake, real) | dict(kid_error=kid_error(real.features, fake.features), n_fake=n, n_real=real.n)
        with write_beside(file) as part: part.write_text(json.dumps(values))
    return json.loads(file.read_text())


def done(job, runs, n):
    "One run, trained and measured; what the lesson shows of it."
    group, name, config = job
    folder = runs/group/name.replace(" ", "-").replace(",", "").replace("'", "")
    if name == UNFROZEN: T.g_step = moving_both()
    run = T.train_or_open(config, folder, progress=False)
    curves = {k: [None if row[k] is None else round(row[k], 4) for row in run.history] for k in T.COLUMNS[3:9]}
    row = dict(name=name, config={k: v for k, v in dataclasses.asdict(run.config).items() if v != getattr(SMALL, k)}, images=run.history[-1]["images"],
               minutes=round(sum(r["seconds"] for r in run.history) / 60, 1), **measured(run, n), curves=curves)
    print(f"{group}: {name}: {row['minutes']} min, FID {row['fid']:.1f}, KID {row['kid']:.4f} ± {row['kid_error']:.4f}, recall {row['recall']:.2f}", flush=True)
    return row


def heat(runs, out):
    "Shares of the heat inside the boxes: by run, epoch, layer and method; and image by image."
    rows, images = [], []
    for folder in [*sorted(p.parent for p in (runs/"heads").glob("*/config.json")), runs/"claims"/"whole-photographs"]:
        run = T.open_run(folder)
        about = dict(run=folder.name) | {k: getattr(run.config, k) for k in ("head", "seed", "size", "crop")}
        data = load_images(run.config.data, "test", size=run.config.size, crop=run.config.crop)
        for epoch in run.kept:
            seen = explain(run, data, limit=len(data), weights=epoch)
            rows += [about | dict(epoch=epoch, places=row.pop("size")) | {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in seen.rows()]
            print(f"{folder.name} epoch {epoch}: " + ", ".join(f"{r['size']} {r['method']} {r['ratio']:.2f}" for r in seen.rows()), flush=True)
        if run.config.seed == 0:
            shares = {f"{h}×{w} {m}": heat_share(seen.heat[layer][m], data.boxes) for layer, (_, h, w) in seen.layers.items() for m in METHODS}
            area = next(iter(shares.values())).area
            images += [dict(run=folder.name, image=i, area=f"{area[i]:.3f}") | {k: f"{x.heat[i]:.3f}" for k, x in shares.items()} for i in range(len(data))]
    (out/"birds_heat.json").write_text(json.dumps(dict(command="python bench/birds.py heat", protocol=f"{len(data)} held-out images, boxes, verdict \"fake\"", rows=rows), ensure_ascii=False) + "\n", encoding="utf-8")
    with open(out/"birds_heat.csv", "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, dict.fromkeys(k for row in images for k in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(images)
    print(f"{len(rows)} rows in {out/'birds_heat.json'}, {len(images)} in {out/'birds_heat.csv'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", choices=[*GROUPS, "heat"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--runs", type=Path, default=ROOT/"_runs/birds")
    parser.add_argument("--out", type=Path, default=ROOT/"nbs/data")
    o = parser.parse_args()
    n, smaller = 2000, {}
    if o.tiny: n, smaller, o.runs = 50, dict(limit=64, base_channels=8, batch_size=32, epochs=1), Path(tempfile.mkdtemp())
    if o.tiny: o.out = o.runs
    threads = max(1, os.cpu_count() // o.jobs)
    for group in o.groups:
        if group == "heat":
            heat(o.runs, o.out)
            continue
        plan = [(group, name, dataclasses.replace(config, **smaller)) for name, config in GROUPS[group].items()]
        # a process for each run, because one of them changes a function for all that come after it
        with concurrent.futures.ProcessPoolExecutor(o.jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,), max_tasks_per_child=1) as pool:
            rows = list(pool.map(functools.partial(done, runs=o.runs, n=n), plan))
        report = dict(command=f"python bench/birds.py {group}", data=f"cub200, {len(load_images('cub200', 'train', size=32))} training images",
                      common=dataclasses.asdict(SMALL), threads=threads, torch=torch.__version__, runs=rows)
        (o.out/f"birds_{group}.json").write_text(json.dumps(report, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"written to {o.out/f'birds_{group}.json'}")
