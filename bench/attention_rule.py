"""Does attention capture long-range structure? DCGAN, SNGAN and SAGAN on toy birds whose tail has the colour of their head.

    python bench/attention_rule.py                 three models, three seeds → nbs/data/attention_rule.json
    python bench/attention_rule.py --tiny          everything at toy size, into a temporary folder: does the script work?

Every run sees the same number of images, in networks of the same width, with the same learning rates: those with which the
ready runs of toy birds were made. Each model has its own loss. Judged are images of the generator's average: the share that
is a bird, the share of those birds that keep the rule, the species covered (at least 1 % of the birds) and the
Kullback-Leibler divergence of the species from uniform, in nats. Two runs at once, a core each, finish sooner than one after
the other on both (--jobs). A run that is complete is not done again, one that was interrupted goes on.
"""
import argparse
import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import torch

from gan_course import train as T
from gan_course.core import seeded
from gan_course.data import SPECIES, load_images, read_birds
from gan_course.sagan import SelfAttention2d

ROOT = Path(__file__).resolve().parents[1]
COMMON = T.TrainConfig(data="toy-birds", base_channels=32, batch_size=32, epochs=25, lr_g=1e-3, lr_d=1e-3, beta1=.5, ema=.999, precision="bf16")
SETTINGS = {"dcgan": dict(loss="bce"), "sngan": dict(loss="hinge"), "sagan": dict(loss="hinge")}


def judge(images):
    """Shares and counts of images (N,3,32,32) uint8."""
    species, head, tail, bird = read_birds(images)
    counts = species[bird].bincount(minlength=len(SPECIES)).double()
    p = counts / counts.sum().clamp(min=1)
    return dict(n=len(images), birds=bird.double().mean().item(), rule=((head == tail) & bird).sum().item() / max(1, bird.sum().item()),
                covered=int((p >= .01).sum()), kl=(p * (p * len(SPECIES)).clamp(min=1e-12).log()).sum().item(), counts=counts.long().tolist())


def drawn(G, n): return T.generate(G, torch.randn(n, G.latent_dim, generator=seeded(2024)), 500)


def gammas(net): return [round(m.gamma.item(), 4) for m in net.modules() if isinstance(m, SelfAttention2d)]


def watch(folder, label, say):
    """A hook that judges the average every few epochs, and keeps what it saw in the run's folder."""
    def hook(training, row):
        if training.epoch % 5 == 0 or training.epoch == training.config.epochs:
            with torch.random.fork_rng(devices=[]): seen = judge(drawn(training.ema, 1000))
            with open(folder/"judged.jsonl", "a") as f: f.write(json.dumps(dict(epoch=training.epoch) | seen) + "\n")
            say(f"{label} epoch {training.epoch:3}: birds {seen['birds']:.1%}, rule {seen['rule']:.1%}, species {seen['covered']}, "
                f"KL {seen['kl']:.3f}, {row['seconds']:.1f} s an epoch")
    return hook


def say(log, started, text):
    line = f"{(time.time() - started) / 60:6.1f} min  {text}"
    print(line, flush=True)
    with open(log, "a") as f: f.write(line + "\n")


def trained(config, runs, say):
    """The folder of this run, which is complete afterwards."""
    folder = runs/f"{config.model}-{config.seed}"
    T.train_or_open(config, folder, on_epoch_end=[watch(folder, f"{config.model} seed {config.seed}", say)], progress=False)
    return folder


def result(run, model, seed, n):
    by_epoch = {}
    for line in (run.path/"judged.jsonl").read_text().splitlines(): by_epoch[json.loads(line)["epoch"]] = json.loads(line)  # the last word counts
    return dict(model=model, seed=seed, **judge(drawn(run.generator("last"), n)), seconds=sum(r["seconds"] for r in run.history),
                images=run.history[-1]["images"], gamma_g=gammas(run.generator("last")), gamma_d=gammas(run.discriminator("last")),
                by_epoch=[{k: row[k] for k in ("epoch", "birds", "rule", "kl")} for _, row in sorted(by_epoch.items())])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000, help="generated images to judge at the end")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--runs", type=Path, default=ROOT/"_runs/attention-rule")
    parser.add_argument("--out", type=Path, default=ROOT/"nbs/data/attention_rule.json")
    o = parser.parse_args()
    started, common = time.time(), COMMON
    if o.tiny:
        place = Path(tempfile.mkdtemp())
        common, o.images, o.runs, o.out = dataclasses.replace(COMMON, limit=64, base_channels=8, batch_size=32, epochs=1), 50, place/"runs", place/"rule.json"
    for folder in (o.runs, o.out.parent): folder.mkdir(parents=True, exist_ok=True)

    plan = [dataclasses.replace(common, model=model, seed=seed, **SETTINGS[model]) for seed in range(o.seeds) for model in SETTINGS]
    work = functools.partial(trained, runs=o.runs, say=functools.partial(say, o.runs/"log.txt", started))
    threads = max(1, os.cpu_count() // o.jobs)
    with concurrent.futures.ProcessPoolExecutor(o.jobs, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        folders = list(pool.map(work, plan))
    report = dict(command="python bench/attention_rule.py", config=dataclasses.asdict(common), settings=SETTINGS, jobs=o.jobs, threads=threads,
                  torch=torch.__version__, real=judge(load_images("toy-birds", "test").images[:o.images]),
                  runs=[result(T.open_run(folder), c.model, c.seed, o.images) for folder, c in zip(folders, plan)])
    o.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{'model':6} {'birds':>16} {'rule, of birds':>16} {'species':>10} {'KL':>14}    mean of {o.seeds} seeds, least … most")
    for model in SETTINGS:
        rows = [r for r in report["runs"] if r["model"] == model]
        cells = [[r[k] for r in rows] for k in ("birds", "rule", "covered", "kl")]
        print(f"{model:6} " + "  ".join(f"{sum(c) / len(c):.3f} ({min(c):.3f} … {max(c):.3f})" for c in cells))
    print(f"written to {o.out}")
