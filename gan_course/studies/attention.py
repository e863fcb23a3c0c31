"""Does attention capture long-range structure? DCGAN, SNGAN and SAGAN on toy birds, whose tail has their head's colour.

Three models, three seeds each → 08_sagan_rule.json. Every run sees the same number of images, in networks of the same
width, with the same learning rates: those with which the ready runs of toy birds were made. Each model has its loss.
Judged are images of the generator's average: the share that is a bird, the share of those birds that keep the rule, the
species covered (at least 1 % of the birds) and the Kullback-Leibler divergence of the species from uniform, in nats. A
run whose row is there is not done again, and one that was interrupted goes on.
"""
import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_course.core import InputError, seeded
from gan_course.data import load_images
from gan_course.runs import Run
from gan_course.sagan import SelfAttention2d
from gan_course.settings import TrainConfig
from gan_course.steps import generate
from gan_course.toybirds import SPECIES, read_birds
from gan_course.training import train_or_open

from .common import StudyOptions, in_processes, parsed, read_report, run_command, write_report

COMMAND = "python -m gan_course.studies.attention"
COMMON = TrainConfig(data="toy-birds", base_channels=32, batch_size=32, epochs=25, lr_g=1e-3, lr_d=1e-3, beta1=.5,
                     ema=.999, precision="bf16")
TINY = replace(COMMON, limit=64, base_channels=8, epochs=1, precision="float32")
SETTINGS = {"dcgan": dict(loss="bce"), "sngan": dict(loss="hinge"), "sagan": dict(loss="hinge")}  # of the models


@dataclass
class AttentionOptions(StudyOptions):
    """How much is trained, and where."""

    runs: Path = Path("_runs/attention-rule")  # folder of the runs
    seeds: int = 3  # runs of each model
    images: int = 5000  # generated images to judge at the end


def kept_rules(
    images: Tensor,  # (N,3,32,32) uint8
) -> dict:
    """Shares of birds and of kept rules, species covered, divergence from uniform, and counts."""
    species, head, tail, bird = read_birds(images)
    counts = species[bird].bincount(minlength=len(SPECIES)).double()
    p = counts / counts.sum().clamp(min=1)
    divergence = p * (p * len(SPECIES)).clamp(min=1e-12).log()
    kept = (head == tail) & bird
    return dict(
        n=len(images), birds=bird.double().mean().item(), rule=kept.sum().item() / max(1, bird.sum().item()),
        covered=int((p >= .01).sum()), kl=divergence.sum().item(), counts=counts.long().tolist())


def drawn(
    G: nn.Module,
    n: int,  # images
) -> Tensor:
    """Images of the same latents for every generator."""
    assert isinstance(G.latent_dim, int)
    return generate(G, torch.randn(n, G.latent_dim, generator=seeded(2024)), 500)


def gammas(net: nn.Module) -> list[float]:
    """How much of each attention block is let through."""
    return [round(m.gamma.item(), 4) for m in net.modules() if isinstance(m, SelfAttention2d)]


def watching(folder: Path, label: str, n: int) -> Callable:
    """A hook that judges the average every few epochs, and keeps what it saw in the run's folder."""
    def hook(training, row):
        if training.epoch % 5 and training.epoch != training.config.epochs:
            return
        with torch.random.fork_rng(devices=[]):
            seen = kept_rules(drawn(training.ema, n))
        with open(folder/"judged.jsonl", "a", encoding="utf-8") as f:
            f.write(json.dumps(dict(epoch=training.epoch) | seen) + "\n")
        print(f"{label} epoch {training.epoch:3}: birds {seen['birds']:.1%}, rule {seen['rule']:.1%}, "
              f"species {seen['covered']}, KL {seen['kl']:.3f}, {row['seconds']:.1f} s an epoch", flush=True)
    return hook


def one_run(config: TrainConfig, runs: Path, n: int) -> dict:
    """A run trained and judged."""
    folder = runs/f"{config.model}-{config.seed}"
    hook = watching(folder, f"{config.model} seed {config.seed}", min(n, 1000))
    run = train_or_open(config, folder, on_epoch_end=[hook], progress=False)
    G, D = run.generator("last"), run.discriminator("last")
    return dict(model=config.model, seed=config.seed) | kept_rules(drawn(G, n)) | dict(
        seconds=sum(row["seconds"] for row in run.history), images=run.history[-1]["images"],
        gamma_g=gammas(G), gamma_d=gammas(D), by_epoch=seen_by_epoch(run))


def seen_by_epoch(run: Run) -> list[dict]:
    """What the hook kept; of an epoch that was done twice, because the run was interrupted, the last word counts."""
    lines = (run.path/"judged.jsonl").read_text(encoding="utf-8").splitlines()
    by_epoch = {row["epoch"]: row for row in map(json.loads, lines)}
    return [{k: by_epoch[epoch][k] for k in ("epoch", "birds", "rule", "kl")} for epoch in sorted(by_epoch)]


def rows_there(report: dict, common: TrainConfig, n: int) -> list[dict]:
    """The rows of a report, if they were made with these settings and of so many images."""
    config = report.get("config", {})
    same = {k: v for k, v in asdict(common).items() if k in config} == config
    if report and not (same and report["settings"] == SETTINGS):
        raise InputError("the results that are there were made with other settings: give --out another place")
    return [row for row in report.get("runs", []) if row["n"] == n]


def table(rows: list[dict]) -> str:
    """A line for each model: means over the seeds, least and most."""
    heads = f"{'birds':>16} {'rule, of birds':>16} {'species':>10} {'KL':>14}"
    lines = [f"{'model':6} {heads}    mean of the seeds, least … most"]
    for model in SETTINGS:
        of_model = [row for row in rows if row["model"] == model]
        cells = [[row[key] for row in of_model] for key in ("birds", "rule", "covered", "kl")]
        means = [f"{sum(cell) / len(cell):.3f} ({min(cell):.3f} … {max(cell):.3f})" for cell in cells if cell]
        lines.append(f"{model:6} " + "  ".join(means))
    return "\n".join(lines)


def main() -> None:
    """What is missing, and the table of all."""
    o = parsed(AttentionOptions, COMMAND, __doc__)
    common = TINY if o.tiny else COMMON
    if o.tiny:
        o.images, o.seeds = 50, 1
    file = o.out/"08_sagan_rule.json"
    rows = rows_there(read_report(file), common, o.images)
    known = {(row["model"], row["seed"]) for row in rows}
    plan = [replace(common, model=model, seed=seed, **SETTINGS[model]) for seed in range(o.seeds) for model in SETTINGS]
    missing = [config for config in plan if (config.model, config.seed) not in known]
    real = kept_rules(load_images("toy-birds", "test", limit=o.images).images)
    order = [(config.model, config.seed) for config in plan]
    for row in in_processes(functools.partial(one_run, runs=o.runs, n=o.images), missing, o.jobs):
        rows = sorted([*rows, row], key=lambda row: (row["seed"], list(SETTINGS).index(row["model"])))
        write_report(file, COMMAND, o, config=asdict(common), settings=SETTINGS, real=real, runs=rows)
    print(f"{table([row for row in rows if (row['model'], row['seed']) in order])}\nin {file}")


if __name__ == "__main__":
    run_command(main)
