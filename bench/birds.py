"""The runs of the case study 20_birds: DCGAN on CUB-200-2011, two heads, single changes, and means against few images.

    python bench/birds.py heads      64×64, heads gap and fc, two seeds each: 590,000 images a run, about 50 minutes of one core
    python bench/birds.py claims     32×32, both heads, one change at a time: 150,000 images a run, some minutes of one core
    python bench/birds.py few        32×32, head fc, means for small data sets, two seeds each: 300,000 images a run; two of them with 900,000
    python bench/birds.py heat       where the discriminators of `heads` look, and some of `claims`: some minutes
    python bench/birds.py looks      sharpness and colours of real and generated images of `heads`: a minute
    python bench/birds.py copies     whether the ready run's birds are copies of photographs: some minutes
    python bench/birds.py heads claims few heat looks --tiny    everything at toy size, into a temporary folder: does the script work?

The first three write nbs/data/birds_GROUP.json: settings, losses by epoch, and FID, KID, precision, recall and coverage of generated
images against the training images, KID against the held-out ones too; what real held-out images reach against the training
images stands beside them. A run that is complete is not done again, one that was interrupted goes on, and a measured one is not
measured again. `heat` takes the held-out images with their boxes: birds_heat.json has the shares by run, epoch, layer and
method, where epoch 0 is a D that was not trained; birds_heat.csv has those of every image for the last epoch of `heads`, seed 0.
Two runs at once, a core each, finish sooner than one after the other (--jobs).
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
from cam_where import untrained
from matplotlib.colors import rgb_to_hsv
from torch import nn

from gan_course import train as T
from gan_course import generate
from gan_course.core import seeded, to_float, write_beside
from gan_course.data import load_images
from gan_course.dcgan import Discriminator, dcgan, register_model
from gan_course.fid import compare, from_generator, gather, kid, kid_error, real_stats
from gan_course.gradcam import METHODS, bootstrap_interval, box_masks, explain, heat_share
from gan_course.latent import RealIndex, nearest_real
from gan_course.losses import r1_penalty

ROOT = Path(__file__).resolve().parents[1]
SMALL = T.TrainConfig(data="cub200", size=32, base_channels=32, epochs=204, precision="bf16", samples=16)  # 204 · 1,472 images
LARGE = dataclasses.replace(SMALL, size=64, epochs=401, samples=64, keep_every=50)
UNFROZEN = "D not frozen"  # the one change that is no setting: see `moving_both`


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
    "A step of G that forgets to freeze D: Adam with the settings of G's moves D's weights too, so that both lower G's loss."
    optimisers = {}
    def step(D, opt_g, fake, loss, real=None, backward=torch.Tensor.backward, view=None):
        opt_d = optimisers.setdefault(id(D), torch.optim.Adam(D.parameters(), RATE, (.5, .999)))
        g_loss = loss.g(D(fake), None)
        for opt in (opt_g, opt_d): opt.zero_grad()
        backward(g_loss)
        for opt in (opt_g, opt_d): opt.step()
        return dict(g_loss=g_loss.detach())
    return step


RATE = T.with_defaults(SMALL).lr_d
CHANGES = {  # of either head
    "": {}, "seed 1": dict(seed=1), "PyTorch's initial weights": dict(model="dcgan-torch-init"), "lr of D × 4": dict(lr_d=4 * RATE), "lr of D quartered": dict(lr_d=RATE / 4),
    "lr of G × 4": dict(lr_g=4 * RATE), "whole photographs": dict(crop="whole"), "minimax loss": dict(loss="minimax"), UNFROZEN: {}}
OF_GAP = {"sum": dict(model="dcgan-sum"), "no batch norm before the head": dict(model="dcgan-no-last-bn"), "no batch norm in D": dict(model="dcgan-no-bn")}
MEANS = {"nothing": {}, "augmentation": dict(augment="color,translation,cutout"), "R1": dict(r1=.1), "no batch norm in D": dict(model="dcgan-no-bn"),
         "spectral norm": dict(model="dcgan-sn"), "augmentation and R1": dict(augment="color,translation,cutout", r1=.1)}
GROUPS = {
    "heads": {f"{head}, seed {seed}": dataclasses.replace(LARGE, head=head, seed=seed) for head in ("gap", "fc") for seed in (0, 1)},
    "claims": {", ".join(filter(None, (head, name))): dataclasses.replace(SMALL, **dict(head=head, epochs=102) | change)
               for head in ("gap", "fc") for name, change in (CHANGES | (OF_GAP if head == "gap" else {})).items()},
    "few": {f"{name}, seed {seed}": dataclasses.replace(SMALL, seed=seed, **change) for name, change in MEANS.items() for seed in (0, 1)}
           | {f"{name}, three times as long, seed 0": dataclasses.replace(SMALL, epochs=612, **MEANS[name]) for name in ("nothing", "augmentation")},
}
# of the histograms in `looks`
EDGES = dict(sharpness=np.linspace(1.5, 4.5, 31), hue=np.linspace(0, 360, 37))
# group → number of images that are measured, and which generators: epoch, average or not
MEASURED = {"heads": (2000, [(100, True), (200, True), (300, True), ("last", True), ("last", False)]),
            "claims": (1000, [("last", False)]), "few": (2000, [("last", False), ("last", True)])}


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


def measured(run, n, which):
    "One row for each of these generators; read if it was measured before."
    file, rows = run.path/"measured.json", []
    known = json.loads(file.read_text()) if file.exists() else []
    for epoch, ema in which:
        about = dict(epoch=run.epoch_of(epoch), average=ema, n_fake=n)
        row = next((r for r in known if r.items() >= about.items()), None)
        if row is None:
            fake = gather(from_generator(run.generator(epoch, ema=ema), n, 0, run.path.name), "inception", progress=False)
            row = about | judged(fake, *sides(run.config))
            known.append(row)
            with write_beside(file) as part: part.write_text(json.dumps(known))
        rows.append(row)
    return rows


def slope(run):
    "Root mean square of the slope of D at every third training image."
    images = load_images(run.config.data, "train", size=run.config.size, crop=run.config.crop, progress=False).images[::3]
    return r1_penalty(run.discriminator(), to_float(images)).item() ** .5


def spread(run, n=1000):
    "Total variance of images of the generator itself over that of the training images, in the small extractor's features: 0 if all were one image."
    fake = gather(from_generator(run.generator("last", ema=False), n, 0, run.path.name), "small", progress=False)
    real = real_stats(load_images(run.config.data, "train", size=run.config.size, crop=run.config.crop, progress=False), "small", progress=False)
    return float(fake.cov.trace() / real.cov.trace())


def done(job, runs, n, which):
    "One run, trained and measured; what the lesson shows of it."
    group, name, config = job
    folder = runs/group/folder_name(name)
    if UNFROZEN in name: T.g_step = moving_both()
    row = dict(name=name, config={k: v for k, v in dataclasses.asdict(config).items() if v != getattr(SMALL, k)})
    try: run = T.train_or_open(config, folder, progress=False)
    except T.Diverged as e: run, row["diverged"] = T.open_run(folder), str(e)
    row |= dict(images=run.history[-1]["images"] if run.history else 0, minutes=round(sum(r["seconds"] for r in run.history) / 60, 1),
                measured=[], curves={k: [None if r[k] is None else float(f"{r[k]:.4g}") for r in run.history] for k in T.COLUMNS[3:9]})
    if "diverged" not in row: row |= dict(measured=measured(run, n, which), slope=round(slope(run), 3), spread=round(spread(run), 3))
    print(f"{group}: {name}: {row['minutes']} min, " + (row.get("diverged") or str(row["measured"])), flush=True)
    return row


def heat_of(run):
    "Shares of the heat inside the boxes: rows by epoch, layer and method, and shares of every image by the last D; read if they were measured before."
    file, epochs = run.path/"heat.json", [0, *run.kept]
    if file.exists() and (found := json.loads(file.read_text()))["epochs"] == epochs: return found
    data = load_images(run.config.data, "test", size=run.config.size, crop=run.config.crop, progress=False)
    rows, by_image = [], {"area": box_masks(data.boxes, data.images.shape[2:]).mean((1, 2))}
    for epoch in epochs:
        D = run.discriminator(epoch) if epoch else untrained(run)
        seen = explain(D, data, limit=len(data))
        by_layer = seen.rows()
        print(f"{run.path.name} epoch {epoch}: " + ", ".join(f"{r['size']} {r['method']} {r['ratio']:.2f}" for r in by_layer), flush=True)
        for row in by_layer:
            share = heat_share(seen.heat[row["layer"]][row["method"]], data.boxes)
            low, high = bootstrap_interval(share.ratio - share.elsewhere)  # beyond what position alone gives
            row = dict(epoch=epoch, places=row.pop("size")) | row | dict(beyond=row["ratio"] - row["elsewhere"], beyond_low=low, beyond_high=high)
            rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
            by_image[f"{row['places']} {row['method']}"] = share.heat
    found = dict(epochs=epochs, rows=rows, images=[dict(image=i) | {k: f"{x[i]:.3f}" for k, x in by_image.items()} for i in range(len(data))])
    with write_beside(file) as part: part.write_text(json.dumps(found))
    return found


def heat(runs, out):
    "Where the D of `heads` look, and some of `claims`."
    rows, images = [], []
    for folder in [*sorted(p.parent for p in (runs/"heads").glob("*/config.json")), *(runs/"claims"/name for name in ("gap", "fc", "gap--whole-photographs", "fc--whole-photographs"))]:
        run = T.open_run(folder)
        found = heat_of(run)
        rows += [dict(run=folder.name) | {k: getattr(run.config, k) for k in ("head", "seed", "size", "crop")} | row for row in found["rows"]]
        if run.config.seed == 0 and run.config.size == 64: images += [dict(run=folder.name) | row for row in found["images"]]
    protocol = f"{len(found['images'])} held-out images, boxes, verdict \"fake\""
    (out/"birds_heat.json").write_text(json.dumps(dict(command="python bench/birds.py heat", protocol=protocol, rows=rows), ensure_ascii=False) + "\n", encoding="utf-8")
    with open(out/"birds_heat.csv", "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, dict.fromkeys(k for row in images for k in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(images)
    print(f"{len(rows)} rows in {out/'birds_heat.json'}, {len(images)} in {out/'birds_heat.csv'}")


def laplacian_variance(brightness):
    "(N,1,H,W) → (N,): the variance of the Laplacian."
    return F.conv2d(brightness, torch.tensor([[[[0., 1, 0], [1, -4, 1], [0, 1, 0]]]])).flatten(1).var(1)


def look(images, rim=6):
    """Sharpness: variance of the Laplacian of the brightness, its median and counts of its log10; its median at half the size, where a checkerboard
    is gone; median of the standard deviation of the brightness. Colour of the rim: hue of its mean, in degrees, where its saturation is at least
    0.15 (else grey), counts, and the share from 60 to 170 (green). Counts between EDGES."""
    brightness = images.float().mean(1, keepdim=True)
    outside = torch.ones(images.shape[2:], dtype=torch.bool)
    outside[rim:-rim, rim:-rim] = False
    hue, saturation, _ = rgb_to_hsv(images[:, :, outside].float().mean(2) / 255).T
    sharpness, hue = laplacian_variance(brightness), 360 * hue[saturation >= .15]
    medians = dict(sharpness=sharpness, half_size=laplacian_variance(F.avg_pool2d(brightness, 2)), contrast=brightness.flatten(1).std(1))
    return dict(n=len(images)) | {k: round(v.median().item()) for k, v in medians.items()} | dict(
        green=round(float(((hue >= 60) & (hue < 170)).sum()) / len(images), 3), grey=round(1 - len(hue) / len(images), 3),
        sharpness_counts=np.histogram(sharpness.log10(), EDGES["sharpness"])[0].tolist(), hue_counts=np.histogram(hue, EDGES["hue"])[0].tolist())


def looks(runs, out):
    "Blurred and green? Real images, and those of each run of `heads` by the generator and by its moving average."
    sets = {f"real, {name}": load_images("cub200", split, size=64, progress=False).images for name, split in (("training", "train"), ("held out", "test"))}
    for name in GROUPS["heads"]:
        run = T.open_run(runs/"heads"/folder_name(name))
        z = torch.randn(len(sets["real, training"]), run.config.latent_dim, generator=seeded(1))
        sets |= {f"{name}, {which}": generate(run.generator("last", ema=which == "average"), z) for which in ("average", "itself")}
    report = dict(command="python bench/birds.py looks", edges={k: v.tolist() for k, v in EDGES.items()}, rows=[dict(name=name) | look(images) for name, images in sets.items()])
    (out/"birds_looks.json").write_text(json.dumps(report) + "\n", encoding="utf-8")
    print(*report["rows"], f"written to {out/'birds_looks.json'}", sep="\n")


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
    report = dict(command="python bench/birds.py copies", latents=f"{n} by seeded(2)", rows=rows)
    (out/"birds_copies.json").write_text(json.dumps(report) + "\n", encoding="utf-8")


AFTERWARDS = {"heat": heat, "looks": looks, "copies": copies}  # they open runs

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", choices=[*GROUPS, *AFTERWARDS])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--runs", type=Path, default=ROOT/"_runs/birds")
    parser.add_argument("--out", type=Path, default=ROOT/"nbs/data")
    o = parser.parse_args()
    smaller = {}
    if o.tiny:
        o.out = o.runs = Path(tempfile.mkdtemp())
        smaller, MEASURED = dict(limit=64, base_channels=8, batch_size=32, epochs=1), {group: (50, [("last", ema)]) for group, (_, [*_, (_, ema)]) in MEASURED.items()}
    threads = max(1, os.cpu_count() // o.jobs)
    for group in o.groups:
        if group in AFTERWARDS:
            AFTERWARDS[group](o.runs, o.out)
            continue
        plan = [(group, name, dataclasses.replace(config, **smaller)) for name, config in GROUPS[group].items()]
        n, which = MEASURED[group]
        # a process for each run, because one of them changes a function for all that come after it
        with concurrent.futures.ProcessPoolExecutor(o.jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,), max_tasks_per_child=1) as pool:
            rows = list(pool.map(functools.partial(done, runs=o.runs, n=n, which=which), plan))
        floor = []
        for size, crop in dict.fromkeys((c.size, c.crop) for _, _, c in plan):
            real, held_out = sides(dataclasses.replace(plan[0][2], size=size, crop=crop))
            floor.append(dict(size=size, crop=crop, n=held_out.n) | judged(held_out, real, None))
        report = dict(command=f"python bench/birds.py {group}", data=f"cub200, {len(load_images('cub200', 'train', size=32))} training images",
                      common=dataclasses.asdict(SMALL), threads=threads, torch=torch.__version__, held_out=floor, runs=rows)
        (o.out/f"birds_{group}.json").write_text(json.dumps(report, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"written to {o.out/f'birds_{group}.json'}")
