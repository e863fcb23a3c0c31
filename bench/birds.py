"""The runs of the case study 20_birds: DCGAN on CUB-200-2011, two heads, single changes, and remedies for few images.

    python bench/birds.py heads      64×64, heads gap and fc, two seeds each: 250,000 images a run, an hour of one core
    python bench/birds.py claims     32×32, both heads, one change at a time: 75,000 images a run, some minutes of one core
    python bench/birds.py few        32×32, head fc, remedies for small data sets, two seeds each: 100,000 images a run
    python bench/birds.py heat       where the discriminators of `heads`, of some of `claims` and of the ready run look: some minutes each
    python bench/birds.py looks      sharpness and colours of real images and of those of `heads`, of some of `claims` and of the ready run
    python bench/birds.py copies     whether the ready run's birds are copies of photographs: some minutes
    python bench/birds.py heads claims few heat looks --tiny    everything at toy size, into a temporary folder: does the script work?

The first three write nbs/data/birds_GROUP.json: settings, losses by epoch, slope of D, spread of the images, and in `heads` and `few` FID,
KID, precision, recall and coverage of generated images against the training images, KID against the held-out ones too; what real held-out
images reach against the training images stands beside them. birds_GROUP.png has images of the generators themselves, a row for each run in that order;
birds_film.png has five latents of each run of `heads` by its moving average, at every epoch that was kept.
A run whose row stands in the JSON is not done again, one that was interrupted goes on. `heat` takes the held-out images with their boxes:
birds_heat.json has the shares by run, epoch, layer and method, where epoch 0 is a D that was not trained; birds_heat.csv has those of every
image for the last epoch. It and `looks` do what is missing as well. Two runs at once, a core each, finish sooner than one after the
other (--jobs).
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

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from cam_where import untrained
from matplotlib.colors import rgb_to_hsv
from torch import nn

from gan_course import train as T
from gan_course import generate
from gan_course.core import image_grid, seeded, to_float, write_beside
from gan_course.data import load_images
from gan_course.dcgan import Discriminator, dcgan, register_model
from gan_course.fid import compare, from_generator, gather, kid, kid_error, real_stats
from gan_course.gradcam import METHODS, bootstrap_interval, box_masks, explain, heat_share
from gan_course.latent import RealIndex, nearest_real
from gan_course.losses import r1_penalty

ROOT = Path(__file__).resolve().parents[1]
SMALL = T.TrainConfig(data="cub200", size=32, base_channels=32, epochs=68, precision="float32", samples=16)  # 68 · 1,472 images
LARGE = dataclasses.replace(SMALL, size=64, epochs=171, samples=64, keep_every=57)
MOVED = "D moved by G's step"  # the one change that is no setting: see `moving_both`


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


def with_less_batch_norm(*shape, last_only):
    "D without its last batch norm, the one before the head, or without any; PyTorch's initial weights, since with N(0, 0.02²) it hardly begins."
    G, D = torch_init(*shape)
    G.own_init = False
    norms = [layer for layer in D.features if isinstance(layer, nn.BatchNorm2d)]
    D.features = nn.Sequential(*(layer for layer in D.features if layer not in norms[-1:] * last_only + norms * (not last_only)))
    return G, D


for name, build in (("dcgan-sum", summing), ("dcgan-torch-init", torch_init), ("dcgan-no-bn", functools.partial(with_less_batch_norm, last_only=False)),
                    ("dcgan-no-last-bn", functools.partial(with_less_batch_norm, last_only=True))): register_model(name, build)


def moving_both():
    "A step of G that moves D's weights too, by an Adam of their own with the settings of G's, so that both lower G's loss; it is not in the checkpoints."
    opt_d = None
    def step(D, opt_g, fake, loss, real=None, backward=torch.Tensor.backward, view=None):
        nonlocal opt_d
        opt_d = opt_d or torch.optim.Adam(D.parameters(), RATE, (.5, .999))
        g_loss = loss.g(D(fake), None)
        for opt in (opt_g, opt_d): opt.zero_grad()
        backward(g_loss)
        for opt in (opt_g, opt_d): opt.step()
        return dict(g_loss=g_loss.detach())
    return step


RATE = T.with_defaults(SMALL).lr_d
CHANGES = {  # of either head
    "": {}, "seed 1": dict(seed=1), "PyTorch's initial weights": dict(model="dcgan-torch-init"), "lr of D × 4": dict(lr_d=4 * RATE), "lr of D quartered": dict(lr_d=RATE / 4),
    "lr of G × 4": dict(lr_g=4 * RATE), "whole photographs": dict(crop="whole"), "minimax loss": dict(loss="minimax"), MOVED: {}}
OF_GAP = {"sum": dict(model="dcgan-sum"), "no batch norm before the head": dict(model="dcgan-no-last-bn"), "no batch norm in D": dict(model="dcgan-no-bn")}
REMEDIES = {"nothing": {}, "augmentation": dict(augment="color,translation,cutout"), "R1": dict(r1=.1), "no batch norm in D": dict(model="dcgan-no-bn"),
            "spectral norm": dict(model="dcgan-sn")}
GROUPS = {
    "heads": {f"{head}, seed {seed}": dataclasses.replace(LARGE, head=head, seed=seed) for head in ("gap", "fc") for seed in (0, 1)},
    "claims": {", ".join(filter(None, (head, name))): dataclasses.replace(SMALL, **dict(head=head, epochs=51, keep_every=17) | change)
               for head in ("gap", "fc") for name, change in (CHANGES | (OF_GAP if head == "gap" else {})).items()},
    "few": {f"{name}, seed {seed}": dataclasses.replace(SMALL, seed=seed, **change) for seed in (0, 1) for name, change in REMEDIES.items()},
}
# of the histograms in `looks`
EDGES = dict(sharpness=np.linspace(1.5, 4.5, 31), hue=np.linspace(0, 360, 37))
# group → generators that are measured with Inception: epoch, average or not
MEASURED = {"heads": [("last", True), ("last", False)], "claims": [], "few": [("last", False)]}


def folder_name(name): return "".join(c if c.isalnum() else "-" for c in name)


def sides(config):
    "Statistics of the training images and of the held-out ones."
    how = dict(size=config.size, crop=config.crop, progress=False)
    return [real_stats(load_images(config.data, split, **how, **(dict(limit=config.limit) if split == "train" else {})), "inception", progress=False) for split in ("train", "test")]


def judged(fake, real, held_out):
    "All numbers of these features, rounded."
    values = compare(fake, real) | dict(kid_error=kid_error(real.features, fake.features))
    if held_out is not None: values |= dict(kid_held_out=kid(held_out.features, fake.features), kid_held_out_error=kid_error(held_out.features, fake.features))
    return {k: float(f"{v:.4g}") for k, v in values.items()}


def measured(run, which, n):
    "One row for each of these generators, of n images."
    for epoch, ema in which:
        fake = gather(from_generator(run.generator(epoch, ema=ema), n, 0, run.path.name), "inception", progress=False)
        yield dict(epoch=run.epoch_of(epoch), average=ema, n_fake=n) | judged(fake, *sides(run.config))


def slope(run):
    "Root mean square of the slope of D at every third training image."
    images = load_images(run.config.data, "train", size=run.config.size, crop=run.config.crop, progress=False).images[::3]
    return r1_penalty(run.discriminator(), to_float(images)).item() ** .5


def spread(run, n=1000):
    "Total variance of images of the generator itself over that of the training images, in the small extractor's features: 0 if all were one image."
    fake = gather(from_generator(run.generator("last", ema=False), n, 0, run.path.name), "small", progress=False)
    real = real_stats(load_images(run.config.data, "train", size=run.config.size, crop=run.config.crop, progress=False), "small", progress=False)
    return float(fake.cov.trace() / real.cov.trace())


def done(job, runs, n):
    "One run, trained and measured; what the lesson shows of it."
    group, name, config = job
    which = MEASURED[group] + [("last", True)] * (group == "few" and name.startswith("nothing"))  # the moving average alone
    if MOVED in name: T.g_step = moving_both()
    row = dict(name=name, config=settings(config))
    folder = runs/group/folder_name(name)
    try: run = T.train_or_open(config, folder, progress=False)
    except T.Diverged as e: run, row["diverged"] = T.open_run(folder), str(e)
    row |= dict(precision=run.config.precision, torch=torch.__version__, images=run.history[-1]["images"] if run.history else 0, minutes=round(sum(r["seconds"] for r in run.history) / 60, 1),
                measured=[], curves={k: [None if r[k] is None else float(f"{r[k]:.4g}") for r in run.history] for k in T.COLUMNS[3:9]})
    if "diverged" not in row: row |= dict(measured=list(measured(run, which, n)), slope=round(slope(run), 3), spread=round(spread(run), 3))
    print(f"{group}: {name}: {row['minutes']} min, " + (row.get("diverged") or f"spread {row['spread']}, {row['measured']}"), flush=True)
    return row


def settings(config): return {k: v for k, v in dataclasses.asdict(config).items() if v != getattr(SMALL, k)}


def read(file): return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def write(file, report):
    with write_beside(file) as part: part.write_text(json.dumps(report, ensure_ascii=False) + "\n", encoding="utf-8")


def train_all(group, runs, out, jobs, n=1000, **smaller):
    "All runs of a group whose row is missing; the file is written after each."
    plan = [(group, name, dataclasses.replace(config, **smaller)) for name, config in GROUPS[group].items()]
    file, order = out/f"birds_{group}.json", list(GROUPS[group])
    rows = [row for row in read(file).get("runs", []) if (row["name"], row["config"]) in [(name, settings(config)) for _, name, config in plan]]
    report = dict(command=f"python bench/birds.py {group}", data=f"cub200, {len(load_images('cub200', 'train', size=32))} training images", common=dataclasses.asdict(SMALL))
    if MEASURED[group]:
        real, held_out = sides(plan[0][2])
        report["held_out"] = dict(n=held_out.n) | judged(held_out, real, None)
    # a process for each run, because one of them changes a function for all that come after it
    with concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (max(1, os.cpu_count() // jobs),), max_tasks_per_child=1) as pool:
        for job in concurrent.futures.as_completed([pool.submit(done, job, runs, n) for job in plan if job[1] not in [row["name"] for row in rows]]):
            rows = sorted([*rows, job.result()], key=lambda row: order.index(row["name"]))
            write(file, report | dict(runs=rows))
    folders = [runs/group/folder_name(name) for name in order]
    if all(folder.exists() for folder in folders):
        opened, z = [T.open_run(folder) for folder in folders], torch.randn(8, SMALL.latent_dim, generator=seeded(0))
        torchvision.io.write_png(image_grid(torch.cat([generate(run.generator("last", ema=False), z) for run in opened]), 8), str(out/f"birds_{group}.png"))
        if group == "heads": torchvision.io.write_png(image_grid(torch.cat([run.samples(epoch)[:5] for run in opened for epoch in run.kept]), 5 * len(opened[0].kept)), str(out/"birds_film.png"))
    print(f"{len(rows)} of {len(plan)} runs in {file}")


def explained(runs):
    "Name → run, of those complete on the disk whose D and images are looked at closely."
    folders = {f"{group}: {name}": runs/group/folder_name(name) for group, names in (("heads", GROUPS["heads"]), ("claims", ("gap", "fc", "gap, whole photographs", "fc, whole photographs"))) for name in names}
    opened = {name: T.open_run(folder) for name, folder in folders.items() if folder.exists()}
    return {name: run for name, run in opened.items() if len(run.history) == run.config.epochs} | {"cub200-dcgan": T.ready_run("cub200-dcgan")}


def edges(images, places):
    "(N,3,H,W) uint8 → (N,H,W): length of the gradient of the brightness, averaged onto places × places; what a map reaches that shows edges and nothing else."
    brightness = F.pad(images.float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    x, y = brightness[..., 1:-1, 2:] - brightness[..., 1:-1, :-2], brightness[..., 2:, 1:-1] - brightness[..., :-2, 1:-1]
    return F.interpolate(F.adaptive_avg_pool2d((x**2 + y**2).sqrt(), places), images.shape[2:], mode="bilinear").squeeze(1)


def shares(maps, boxes):
    "Mean ratio of heat and area, what position alone gives, and what is beyond it, with 95 % intervals over photographs (the boxes of the others fixed)."
    share = heat_share(maps, boxes)
    low, high = bootstrap_interval(share.ratio - share.elsewhere)
    mean = share.mean()
    return share.heat, mean | dict(beyond=mean["ratio"] - mean["elsewhere"], beyond_low=low, beyond_high=high)


def heat(runs, out):
    "Shares of the heat inside the boxes of held-out images: rows by epoch, layer and method, and shares of every image by the last D."
    def add(**row): rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    file, table = out/"birds_heat.json", out/"birds_heat.csv"
    rows = read(file).get("rows", [])
    images = list(csv.DictReader(open(table, newline="", encoding="utf-8"))) if table.exists() else []
    for name, run in explained(runs).items():
        data = load_images(run.config.data, "test", size=run.config.size, crop=run.config.crop, progress=False)
        about, box = {k: getattr(run.config, k) for k in ("size", "crop")}, box_masks(data.boxes, data.images.shape[2:])
        if not any(row["run"] == "edges" and about.items() <= row.items() for row in rows):  # what to hold the heat against
            for n in (data.img_size // 2, 8, 4): add(run="edges", places=f"{n}×{n}", **about, **shares(edges(data.images, n), data.boxes)[1])
            for what, m in (("the box itself", box), ("all but the box", 1 - box)): add(run=what, **about, **shares(m, data.boxes)[1])
        if any(row["run"] == name for row in rows): continue
        by_image = {"area": box.mean((1, 2))}
        for epoch in [0, *run.kept]:
            seen = explain(run.discriminator(epoch) if epoch else untrained(run), data, limit=len(data))
            for layer, (_, h, w) in seen.layers.items():
                for method in METHODS:
                    by_image[f"{h}×{w} {method}"], found = shares(seen.heat[layer][method], data.boxes)
                    add(run=name, epoch=epoch, places=f"{h}×{w}", layer=layer, method=method, head=run.config.head, seed=run.config.seed, **about, **found)
            print(f"{name} epoch {epoch}: " + ", ".join(f"{r['places']} {r['method']} {r['ratio']:.2f} ({r['beyond']:+.2f})" for r in rows[-2 * len(seen.layers):]), flush=True)
        if run.config.crop == "box" and run.config.seed == 0: images += [dict(run=name, image=i) | {k: f"{x[i]:.3f}" for k, x in by_image.items()} for i in range(len(data))]
    write(file, dict(command="python bench/birds.py heat", protocol=f"{len(data)} held-out images, boxes, verdict \"fake\"", rows=rows))
    with open(table, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, dict.fromkeys(k for row in images for k in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(images)


def laplacian_variance(brightness):
    "(N,1,H,W) → (N,): the variance of the Laplacian."
    return F.conv2d(brightness, torch.tensor([[[[0., 1, 0], [1, -4, 1], [0, 1, 0]]]])).flatten(1).var(1)


def look(images):
    """Sharpness: variance of the Laplacian of the brightness, its median and counts of its log10; its median at half the size, where a checkerboard
    of period two is gone; median of the standard deviation of the brightness. Colour of the rim: hue of its mean, in degrees, where its saturation
    is at least 0.15 (else it is grey), counts. Counts between EDGES."""
    brightness = images.float().mean(1, keepdim=True)
    outside = torch.ones(images.shape[2:], dtype=torch.bool)
    rim = len(outside) // 10
    outside[rim:-rim, rim:-rim] = False
    hue, saturation, _ = rgb_to_hsv(images[:, :, outside].float().mean(2) / 255).T
    sharpness, hue = laplacian_variance(brightness), 360 * hue[saturation >= .15]
    medians = dict(sharpness=sharpness, half_size=laplacian_variance(F.avg_pool2d(brightness, 2)), contrast=brightness.flatten(1).std(1))
    return dict(n=len(images)) | {k: round(v.median().item()) for k, v in medians.items()} | dict(
        sharpness_counts=np.histogram(sharpness.log10(), EDGES["sharpness"])[0].tolist(), hue_counts=np.histogram(hue, EDGES["hue"])[0].tolist())


def looks(runs, out):
    "Blurred and green? Real images, and those of runs by the generator itself, where it is kept, and by its moving average."
    file = out/"birds_looks.json"
    rows = read(file).get("rows", [])
    def add(name, size, which, images): rows.append(dict(name=name, size=size, which=which) | look(images))
    for name, run in explained(runs).items():
        if run.config.crop != "box": continue
        size = run.config.size
        if not any(row["name"] == "real" and row["size"] == size for row in rows):
            for split in ("train", "test"): add("real", size, split, load_images("cub200", split, size=size, progress=False).images)
        if any(row["name"] == name for row in rows): continue
        z = torch.randn(1500, run.config.latent_dim, generator=seeded(1))
        for which in ("average",) if "packed" in run.info else ("average", "itself"): add(name, size, which, generate(run.generator("last", ema=which == "average"), z))
    write(file, dict(command="python bench/birds.py looks", edges={k: v.tolist() for k, v in EDGES.items()}, rows=rows))
    print(*({k: v for k, v in row.items() if "counts" not in k} for row in rows), f"written to {file}", sep="\n")


def copies(runs, out, n=500):
    "Are generated birds copies? Distances of the ready run's images to the nearest training image, in Inception's features, beside those of held-out images."
    train, held_out = (load_images("cub200", split, size=64, progress=False).images for split in ("train", "test"))
    G = T.ready_run("cub200-dcgan").generator()
    z = torch.randn(n, G.latent_dim, generator=seeded(2))
    sets = {"generated": generate(G, z), "held-out photographs": held_out[torch.randperm(len(held_out), generator=seeded(2))[:n]]}
    index, rows = RealIndex(train, "inception"), []
    for name, images in sets.items():
        near = nearest_real(images, index)
        rows.append(dict(name=name, distance=[round(d, 2) for d in near.distance.flatten().tolist()], nearest=near.index.flatten().tolist(), mirrored=near.mirrored.flatten().tolist()))
        print(f"{name}: median distance {near.distance.median():.2f}, smallest {near.distance.min():.2f}")
    write(out/"birds_copies.json", dict(command="python bench/birds.py copies", latents=f"{n} by seeded(2)", rows=rows))


AFTERWARDS = {"heat": heat, "looks": looks, "copies": copies}  # they open runs

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", choices=[*GROUPS, *AFTERWARDS])
    parser.add_argument("--tiny", action="store_true", help="everything at toy size")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--runs", type=Path, default=ROOT/"_runs/birds")
    parser.add_argument("--out", type=Path, default=ROOT/"nbs/data")
    o = parser.parse_args()
    smaller = {}
    if o.tiny:
        o.out = o.runs = Path(tempfile.mkdtemp())
        smaller = dict(n=50, limit=64, base_channels=8, batch_size=32, epochs=1)
    for group in o.groups:
        if group in AFTERWARDS: AFTERWARDS[group](o.runs, o.out)
        else: train_all(group, o.runs, o.out, o.jobs, **smaller)
