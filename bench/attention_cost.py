"""What self-attention costs: time of a training step with and without it, and memory of the two ways to compute it.

    python bench/attention_cost.py [--steps 6] [--rounds 8] [--threads 2]

Prints, and writes nbs/data/08_attention_cost.json. Step: D's step and G's step as in training, CIFAR-10-sized images,
base_channels 64, batch 64, bf16 autocast, channels last; SNGAN against SAGAN (the same networks, with attention at
16×16 in both), taking turns, in CPU seconds and in wall time. Sizes: forward and backward of one block with 64
channels, explicit matrix against the fused function, by size of the feature map; CPU time in this process, taking
turns; memory as the growth of the peak resident memory, each case in a new process.
"""
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import ROOT, Options, alternate, in_new_process, note, ratios, read_options, report, watched_memory

from gan_course import sagan
from gan_course.core import seeded
from gan_course.dcgan import MODEL_DEFAULTS, build_model
from gan_course.losses import get_loss
from gan_course.steps import d_step, ema_update, g_step

WAYS = {"explicit": 10**9, "fused": 0}  # EXPLICIT_BELOW that forces each
CHANNELS = 64  # of the one block


@dataclass
class AttentionOptions(Options):
    TINY_SIZES = dict(steps=1, rounds=1, batch=4, base_channels=8, sizes=((8, 2),), out=None)
    out: Path|None = ROOT/"nbs/data/08_attention_cost.json"
    steps: int = 6  # in a round
    rounds: int = 8
    batch: int = 64  # images in a training step
    base_channels: int = 64  # width of the networks
    sizes: tuple[tuple[int, int], ...] = ((8, 64), (16, 64), (32, 32), (64, 8))  # feature maps: side, batch


class Pair:
    """Two networks as `train` holds them, and one step of both."""
    def __init__(self, model, batch, base_channels):
        pair = build_model(model, base_channels=base_channels)
        self.latent_dim: Any = pair[0].latent_dim
        self.G, self.D = (net.to(memory_format=torch.channels_last).train() for net in pair)
        self.ema = build_model(model, base_channels=base_channels)[0].eval()
        defaults: dict[str, Any] = MODEL_DEFAULTS[model]
        betas = defaults["beta1"], .999
        self.opt_g = torch.optim.Adam(self.G.parameters(), defaults["lr_g"], betas)
        self.opt_d = torch.optim.Adam(self.D.parameters(), defaults["lr_d"], betas)
        for net in (self.G, self.D):
            open_blocks(net)
        self.loss, self.generator = get_loss(defaults["loss"]), seeded(0)
        real = torch.rand(batch, 3, 32, 32, generator=self.generator) * 2 - 1
        self.real = real.contiguous(memory_format=torch.channels_last)

    def step(self):
        z = torch.randn(len(self.real), self.latent_dim, generator=self.generator)
        with torch.autocast("cpu", torch.bfloat16):
            fake = self.G(z)
            d_step(self.D, self.opt_d, self.real, fake, self.loss)
            g_step(self.D, self.opt_g, fake, self.loss)
        ema_update(self.ema, self.G, .999)


@torch.no_grad()
def open_blocks(net):
    """Give attention some weight, as after some training: with γ = 0 its gradients are zero."""
    for m in net.modules():
        if isinstance(m, sagan.SelfAttention2d):
            m.gamma.fill_(.3)


def summary(seen, base):
    """name → medians of wall and CPU time, and of their ratios to `base`."""
    rows = {}
    for name, timings in seen.items():
        rows[name] = row = {}
        for kind in ("wall", "cpu"):
            values, others = ([getattr(t, kind) for t in which] for which in (timings, seen[base]))
            row |= {f"{kind}_ms": 1000 * statistics.median(values), f"ratio_{kind}": ratios(values, others)["ratio"]}
    return rows


def one_block(way, size, channels, batch):
    """A function: forward and backward of a block, computed that way."""
    torch.manual_seed(0)
    block = sagan.SelfAttention2d(channels).to(memory_format=torch.channels_last)
    open_blocks(block)
    x = torch.randn(batch, channels, size, size).to(torch.bfloat16, memory_format=torch.channels_last).requires_grad_()

    def work():
        sagan.EXPLICIT_BELOW = WAYS[way]
        with torch.autocast("cpu", torch.bfloat16):
            y = block(x)
        y.sum().backward()
    return work


def memory_of_block(way, size, batch):
    """MiB by which forward and backward of a block raise the peak memory of this process, on one thread."""
    torch.set_num_threads(1)
    one_block(way, 2, CHANNELS, 1)()  # what the libraries need in any case
    work = one_block(way, size, CHANNELS, batch)
    with watched_memory() as memory:
        work()
    return memory.growth


def compare_ways(size, batch, rounds):
    """A row: time and memory of both ways at one size of the feature map."""
    time = summary(alternate({way: one_block(way, size, CHANNELS, batch) for way in WAYS}, rounds), "explicit")
    memory = {way: in_new_process(memory_of_block, way, size, batch) for way in WAYS}
    explicit, fused = time["explicit"], time["fused"]
    row = dict(size=size, batch=batch, explicit_ms=explicit["cpu_ms"], fused_ms=fused["cpu_ms"])
    return row | dict(fused_to_explicit=fused["ratio_cpu"], explicit_mib=memory["explicit"], fused_mib=memory["fused"])


def main():
    o = read_options(AttentionOptions, __doc__)
    pairs = {model: Pair(model, o.batch, o.base_channels) for model in ("sngan", "sagan")}
    step = summary(alternate({model: pair.step for model, pair in pairs.items()}, o.rounds, o.steps), "sngan")
    sizes = []
    for size, batch in o.sizes:
        note(f"one block, {size}×{size}")
        sizes.append(compare_ways(size, batch, max(min(3, o.rounds), o.rounds // 2)))
    report(o, dict(step=step, sizes=sizes))


if __name__ == "__main__":
    main()
