"""The rules of DCGAN, one at a time: each left out once, on toy birds, with the same small budget and the same seeds.

    python bench/dcgan_rules.py [--seeds 3] [--epochs 16] [--n 2000] [--base-channels 32] [--only NAME …]

Each variant is DCGAN with exactly one thing changed; the same seed means the same birds in the same order and the same
latents. Run folders are kept in _runs/dcgan_rules/…: a study that was stopped goes on where it stopped, and more seeds
are added to those that are there. As it stands it takes about 16 minutes of one core. The numbers go to
nbs/data/dcgan_rules.json, the pictures (seed 0, the same latents in every row) to nbs/data/dcgan_rules.png, from where
lesson 04 reads them; with other sizes than the lesson's, give --out another place.
"""
import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from gan_course.core import image_grid, seeded
from gan_course.data import SPECIES, read_birds, toy_birds
from gan_course.dcgan import dcgan, register_model
from gan_course.fid import evaluate
from gan_course.train import Diverged, TrainConfig, generate, open_run, train_or_open, write_json

ROOT = Path(__file__).resolve().parents[1]
N_FAKE, COLS = 2000, 12  # images judged of each run; pictures in a row


# one change of a stack of layers each: a layer → what stands in its place
def no_batch_norm(layer):
    if isinstance(layer, nn.BatchNorm2d): return []
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is None:  # was left out because batch norm has one
        layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    return [layer]


def pooling(layer):
    if getattr(layer, "stride", None) != (2, 2): return [layer]
    conv = nn.Conv2d(layer.in_channels, layer.out_channels, 3, 1, 1, bias=layer.bias is not None)
    return [nn.Upsample(scale_factor=2), conv] if isinstance(layer, nn.ConvTranspose2d) else [conv, nn.MaxPool2d(2)]


def relu(layer): return [nn.ReLU(True)] if isinstance(layer, nn.LeakyReLU) else [layer]


def no_tanh(layer): return [] if isinstance(layer, nn.Tanh) else [layer]


@dataclass
class Variant:
    rule: str # the rule that is left out
    instead: str # what there is instead
    change: object = None # of the layers of both networks
    own_init: bool = False # PyTorch's initial weights
    train: dict = field(default_factory=dict) # settings of the training

    def build(self, *shape):
        pair = dcgan(*shape)
        for net, stack in zip(pair, ("layers", "features")):
            if self.change: setattr(net, stack, nn.Sequential(*(new for old in getattr(net, stack) for new in self.change(old))))
            net.own_init = self.own_init
        return pair


VARIANTS = {
    "dcgan": Variant("none", "all rules kept"),
    "batch-norm": Variant("batch norm", "none, in both networks", no_batch_norm),
    "strides": Variant("strided convolutions", "max pooling and upsampling", pooling),
    "leaky": Variant("LeakyReLU in D", "ReLU", relu),
    "tanh": Variant("tanh", "no limit at G's output", no_tanh),
    "beta1": Variant("Adam's β₁ = 0.5", "β₁ = 0.9", train=dict(beta1=.9)),
    "init": Variant("weights from N(0, 0.02²)", "PyTorch's default", own_init=True),
}


def run_one(name, seed, birds, settings, folder, bar):
    "Train (or go on, or find it done); the run, and whether it diverged."
    path, before = folder/f"{name}-{seed}", bar.n
    bar.set_description(f"{name} {seed}")
    config = TrainConfig(**dict(data="toy-birds", model=f"rules-{name}", loss="bce", seed=seed, samples=COLS, **settings) | VARIANTS[name].train)
    try: return train_or_open(config, path, images=birds, on_epoch_end=[lambda t, row: bar.update() and None], progress=False), False
    except Diverged: return open_run(path), True
    finally: bar.update(before + settings["epochs"] - bar.n)


def judge(run, diverged, real):
    "What the study says of one run."
    z = torch.randn(N_FAKE, run.config.latent_dim, generator=seeded(run.config.seed, 7))
    fake = generate(run.generator("last"), z)
    species, head, tail, bird = read_birds(fake)
    shares = torch.bincount(species[bird], minlength=len(SPECIES)) / N_FAKE
    last = run.history[-1] if run.history else dict.fromkeys(("d_acc_real", "d_acc_fake", "d_loss_real", "d_loss_fake", "g_loss"))
    return dict(
        birds=bird.float().mean().item(), species=(shares >= .01).float().mean().item(),
        rule=(head == tail)[bird].float().mean().item() if bird.any() else None,
        frechet=evaluate(fake, real, extractor="small", progress=False).values["frechet_distance"],
        d_acc_real=last["d_acc_real"], d_acc_fake=last["d_acc_fake"], d_loss=(last["d_loss_real"] or 0) + (last["d_loss_fake"] or 0),
        g_loss=last["g_loss"], diverged=diverged, epochs=len(run.history))


def summary(results):
    "Mean and standard deviation over the seeds, as a table."
    lines = [f"{'left out':26} {'birds %':>12} {'species %':>12} {'Fréchet (small)':>16} {'D right % (real/fake)':>22} diverged"]
    for name, runs in results.items():
        def both(key, scale=100.):
            values = [scale * r[key] for r in runs.values() if r[key] is not None]
            return f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}" if values else "–"
        right = " / ".join(both(k).split(" ±")[0] for k in ("d_acc_real", "d_acc_fake"))
        lines.append(f"{VARIANTS[name].rule:26} {both('birds'):>12} {both('species'):>12} {both('frechet', 1.):>16} {right:>22} "
                     f"{sum(r['diverged'] for r in runs.values())} of {len(runs)}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variant")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--n", type=int, default=2000, help="toy birds to train on")
    parser.add_argument("--base-channels", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3, help="of both players")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=ROOT/"nbs/data", help="folder of the results")
    a = parser.parse_args()

    for name, variant in VARIANTS.items(): register_model(f"rules-{name}", variant.build)
    settings = dict(epochs=a.epochs, base_channels=a.base_channels, batch_size=a.batch_size, lr_g=a.lr, lr_d=a.lr, ema=.99, precision=a.precision)
    folder = ROOT/"_runs/dcgan_rules"/f"n{a.n}-e{a.epochs}-c{a.base_channels}-b{a.batch_size}-lr{a.lr:g}-{a.precision}"
    birds, real, started, results, rows = toy_birds(a.n, 0), toy_birds(N_FAKE, 1), time.time(), {}, {}
    with tqdm(total=a.seeds * len(a.only) * a.epochs, unit="epoch", smoothing=.05) as bar:
        for seed in range(a.seeds):
            for name in a.only:
                run, diverged = run_one(name, seed, birds, settings, folder, bar)
                results.setdefault(name, {})[str(seed)] = found = judge(run, diverged, real)
                bar.write(f"{name:10} {seed}  " + "  ".join(f"{k} {v:.3f}" for k, v in found.items() if isinstance(v, float)))
                if seed == 0: rows[name] = run.samples(run.epochs[-1])  # the same latents in every row
            a.out.mkdir(parents=True, exist_ok=True)
            write_json(a.out/"dcgan_rules.json", dict(
                settings=settings | dict(n=a.n, n_fake=N_FAKE, cols=COLS, beta1=.5, seeds=seed + 1),
                variants={k: dict(rule=VARIANTS[k].rule, instead=VARIANTS[k].instead, runs=v) for k, v in results.items()}))
            Image.fromarray(image_grid(torch.cat(list(rows.values())), COLS).permute(1, 2, 0).numpy()).save(a.out/"dcgan_rules.png", optimize=True)
    print(f"\n{a.n} birds, {a.epochs} epochs, {a.base_channels} channels, {a.seeds} seeds; {time.time() - started:.0f} s\n{summary(results)}")


if __name__ == "__main__": main()
