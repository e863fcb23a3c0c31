"""What slows SAGAN down on photographs? CIFAR-10, one change after another: the table of lesson 21.

    python bench/sagan_recipe.py            every variant → nbs/data/sagan_recipe.json: a quarter of an hour of one core each
    python bench/sagan_recipe.py --tiny     everything at toy size, into a temporary folder: does the script work?

Five epochs of all 50,000 images (seven with two steps of D), batch 64, 64 channels, bf16, seed 0; learning
rates 2e-4 and one step each unless a variant says otherwise. Measured are FID and KID of 2,000 images of the generator's
average against the training images: enough to tell the variants apart, too few to compare with other people's numbers. Two
variants at once, a core each, finish sooner than one after the other on both (--jobs). A run that is complete is not done
again, a measured one is not measured again.
"""
import argparse
import concurrent.futures
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
from gan_course.dcgan import MODEL_DEFAULTS, register_model
from gan_course.fid import evaluate
from gan_course.sagan import SNDiscriminator, SNGenerator, normalised, sagan_bn

ROOT = Path(__file__).resolve().parents[1]
COMMON = dict(data="cifar10", model="sagan", loss="hinge", lr_g=2e-4, lr_d=2e-4, beta1=.5, base_channels=64, epochs=5, precision="bf16")


class Scaled(nn.Module):
    "A layer whose output is multiplied by a constant."
    def __init__(self, layer, factor):
        super().__init__()
        self.layer, self.factor = layer, factor

    def forward(self, x): return self.factor * self.layer(x)


class FlatDiscriminator(SNDiscriminator):
    "SAGAN's with DCGAN's way to the logit: the 4×4 map flattened in place of its sum."
    def forward(self, x, labels=None): return self.head(self.features(x).flatten(1)).squeeze(1)


def variant(img_size, img_channels, latent_dim, base_channels, head, g_norm=True, batch_norm=False, free=False, flat=False, factor=1, attention=16):
    """SAGAN of lesson 06 with changes: spectral norm in G, batch norm in D, head without spectral norm, flattened, logits times a factor."""
    G = SNGenerator(img_size, img_channels, latent_dim, base_channels, attention)
    for layer in [] if g_norm else G.layers:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.utils.parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            nn.init.normal_(layer.weight, 0, .02)
    D = (FlatDiscriminator if flat else SNDiscriminator)(img_size, img_channels, base_channels, attention)
    wide = D.head.in_features * (16 if flat else 1)
    if flat: D.head = normalised(nn.Linear(wide, 1))
    if free: D.head = nn.Linear(wide, 1)
    if factor != 1: D.head = Scaled(D.head, factor)
    if batch_norm:
        layers = [[m, nn.BatchNorm2d(m.out_channels)] if isinstance(m, nn.Conv2d) and i else [m] for i, m in enumerate(D.features)]
        D.features = nn.Sequential(*sum(layers, []))
    return G, D


# name → (changes of the networks, or a builder; changes of the settings)
VARIANTS = {
    "sagan": (None, {}),
    "sagan, twice the rates": (None, dict(lr_g=4e-4, lr_d=4e-4)),
    "sagan, twice the rates, two steps of D, 7 epochs": (None, dict(lr_g=4e-4, lr_d=4e-4, d_steps=2, epochs=7)),
    "sagan, five times D's rate": (None, dict(lr_d=1e-3)),
    "sagan, logits × 8": (dict(factor=8), {}),
    "sagan, flattened head": (dict(flat=True), {}),
    "1: G without spectral norm": (dict(g_norm=False), {}),
    "2: 1 and batch norm in D": (dict(g_norm=False, batch_norm=True), {}),
    "3: 2 and a last layer without spectral norm": (dict(g_norm=False, batch_norm=True, free=True), {}),
    "3 with attention at 8×8": (dict(g_norm=False, batch_norm=True, free=True, attention=8), {}),
    "4: 3 with DCGAN's head and initial weights (sagan-bn)": (sagan_bn, {}),
    "dcgan": (None, dict(model="dcgan", loss="bce")),
}


def measured(name, folder, threads, tiny):
    """One variant, trained and measured."""
    torch.set_num_threads(threads)
    change, settings = VARIANTS[name]
    settings = COMMON | settings
    if change is not None:
        settings["model"] = name
        register_model(name, change if callable(change) else functools.partial(variant, **change), MODEL_DEFAULTS["sagan"])
    if tiny: settings |= dict(data="toy-birds", limit=128, base_channels=8, epochs=1, batch_size=32)
    run = T.train_or_open(T.TrainConfig(**settings), folder/"".join(c if c.isalnum() else "-" for c in name), progress=False)
    result = evaluate(run, n_fake=100 if tiny else 2000, extractor="small" if tiny else "inception", progress=False)
    last = run.history[-1]
    fid, kid = (result.values[k] for k in (("frechet_distance", "kernel_distance") if tiny else ("fid", "kid")))
    return dict(name=name, settings={k: v for k, v in settings.items() if COMMON.get(k) != v and k != "model"}, epochs=last["epoch"], fid=round(fid, 2), kid=round(kid, 4),
                d_acc_real=round(last["d_acc_real"], 3), d_acc_fake=round(last["d_acc_fake"], 3), seconds=round(sum(r["seconds"] for r in run.history)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path.home()/".cache/gan-course/runs/sagan-recipe", help="where the runs are kept")
    parser.add_argument("--out", type=Path, default=ROOT/"nbs/data/sagan_recipe.json")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tiny", action="store_true")
    o = parser.parse_args()
    if o.tiny: o.runs = Path(tempfile.mkdtemp()); o.out = o.runs/"sagan_recipe.json"
    rows = json.loads(o.out.read_text())["rows"] if o.out.exists() else []
    todo = [name for name in VARIANTS if name not in {r["name"] for r in rows}]
    with concurrent.futures.ProcessPoolExecutor(o.jobs, multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(measured, name, o.runs, max(1, os.cpu_count() // o.jobs), o.tiny): name for name in todo}
        for job in concurrent.futures.as_completed(jobs):
            rows.append(job.result())
            rows.sort(key=lambda r: list(VARIANTS).index(r["name"]))
            with write_beside(o.out) as part:
                part.write_text('{"command": "python bench/sagan_recipe.py", "n_fake": 2000, "n_real": 50000, "rows": [\n' + ",\n".join(" " + json.dumps(r, ensure_ascii=False) for r in rows) + "\n]}\n", encoding="utf-8")
            print(json.dumps(rows[[r["name"] for r in rows].index(jobs[job])], ensure_ascii=False), flush=True)
    if o.tiny: print(o.out.read_text())
