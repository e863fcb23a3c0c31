"""What self-attention costs: time of a training step with and without the blocks, and memory of the two ways to compute it.

    python bench/attention_cost.py [--steps 6] [--rounds 8] [--threads 2]     prints, and writes nbs/data/attention_cost.json

Step: D's step and G's step of gan_course.train on CIFAR-10-sized images, base_channels 64, batch 64, bf16 autocast, channels
last; SNGAN against SAGAN (the same networks, with attention at 16×16 in both), alternating, in CPU seconds and in wall time.
Ways: forward and backward of one block, explicit matrix against the fused function, by size of the feature map; time in this
process, alternating; memory as the growth of the peak resident memory (Linux), each case in a process of its own.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from gan_course import sagan
from gan_course import train as T
from gan_course.core import seeded
from gan_course.dcgan import MODEL_DEFAULTS, build_model
from gan_course.losses import get_loss

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"explicit": 10**9, "fused": 0}  # EXPLICIT_BELOW that forces each


class Pair:
    """Two networks as `train` holds them, and one step of both."""
    def __init__(self, model, batch=64, base_channels=64):
        self.G, self.D = (net.to(memory_format=torch.channels_last).train() for net in build_model(model, base_channels=base_channels))
        self.ema = build_model(model, base_channels=base_channels)[0].eval()
        d = MODEL_DEFAULTS[model]
        self.opt_g, self.opt_d = (torch.optim.Adam(net.parameters(), d[lr], (d["beta1"], .999)) for net, lr in ((self.G, "lr_g"), (self.D, "lr_d")))
        with torch.no_grad():
            for net in (self.G, self.D):
                for m in net.modules():
                    if isinstance(m, sagan.SelfAttention2d): m.gamma.fill_(.3)  # as after some training
        self.loss, self.generator = get_loss(d["loss"]), seeded(0)
        self.real = (torch.rand(batch, 3, 32, 32, generator=self.generator) * 2 - 1).contiguous(memory_format=torch.channels_last)

    def step(self):
        z = torch.randn(len(self.real), self.G.latent_dim, generator=self.generator)
        with torch.autocast("cpu", torch.bfloat16):
            fake = self.G(z)
            T.d_step(self.D, self.opt_d, self.real, fake, self.loss)
            T.g_step(self.D, self.opt_g, fake, self.loss)
        T.ema_update(self.ema, self.G, .999)


def clocks(): return time.perf_counter(), time.process_time()


def measure(work, n=1):
    """Wall and CPU seconds of one call."""
    wall, cpu = clocks()
    for _ in range(n): work()
    return [(now - then) / n for now, then in zip(clocks(), (wall, cpu))]


def alternate(works, rounds, n=1):
    """name → list of (wall, cpu), one a round; the order turns round each time."""
    for work in works.values(): work()  # warm
    seen = {name: [] for name in works}
    for i in range(rounds):
        for name in sorted(works, reverse=i % 2): seen[name].append(measure(works[name], n))
    return seen


def summary(seen, base):
    """Medians, and the median over rounds of the ratio to `base`."""
    return {name: dict(wall_ms=1e3 * statistics.median(r[0] for r in rows), cpu_ms=1e3 * statistics.median(r[1] for r in rows),
                       ratio_wall=statistics.median(a[0] / b[0] for a, b in zip(rows, seen[base])),
                       ratio_cpu=statistics.median(a[1] / b[1] for a, b in zip(rows, seen[base]))) for name, rows in seen.items()}


def one_block(way, size, channels, batch):
    """A function: forward and backward of a block, computed that way."""
    torch.manual_seed(0)
    block = sagan.SelfAttention2d(channels).to(memory_format=torch.channels_last)
    with torch.no_grad(): block.gamma.fill_(.3)
    x = torch.randn(batch, channels, size, size).to(torch.bfloat16, memory_format=torch.channels_last).requires_grad_()

    def work():
        sagan.EXPLICIT_BELOW = WAYS[way]
        with torch.autocast("cpu", torch.bfloat16): y = block(x)
        y.sum().backward()
    return work


def peak(way, size, channels, batch):
    """MiB by which forward and backward of a block raise this process's peak memory."""
    one_block(way, 2, channels, 1)()  # what the libraries need in any case
    work = one_block(way, size, channels, batch)
    def resident(what): return int(next(line for line in open("/proc/self/status") if line.startswith(what)).split()[1]) / 1024
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=ROOT/"nbs/data/attention_cost.json")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    if o.peak: print(peak(o.peak[0], *map(int, o.peak[1:]))); raise SystemExit

    step = summary(alternate({model: Pair(model).step for model in ("sngan", "sagan")}, o.rounds, o.steps), "sngan")
    print(f"a training step, batch 64, base_channels 64, bf16, {o.threads} threads, {o.rounds} rounds of {o.steps} steps, alternating")
    for name, row in step.items(): print(f"  {name:6} {row['wall_ms']:7.1f} ms wall, {row['cpu_ms']:7.1f} ms CPU; ratio {row['ratio_wall']:.2f} wall, {row['ratio_cpu']:.2f} CPU")

    print("one block, 64 channels, forward and backward")
    sizes = []
    for size, batch in ((8, 64), (16, 64), (32, 32), (64, 8)):
        row = summary(alternate({way: one_block(way, size, 64, batch) for way in WAYS}, max(3, o.rounds // 2)), "explicit")
        memory = {way: float(subprocess.run([sys.executable, __file__, "--threads", "1", "--peak", way, str(size), "64", str(batch)], check=True,
                                            capture_output=True, text=True).stdout) for way in WAYS}
        sizes.append(dict(size=size, batch=batch, explicit_ms=row["explicit"]["cpu_ms"], fused_ms=row["fused"]["cpu_ms"],
                          fused_to_explicit=row["fused"]["ratio_cpu"], explicit_mib=memory["explicit"], fused_mib=memory["fused"]))
        print(f"  {size:3}×{size:<3} batch {batch:3}: explicit {row['explicit']['cpu_ms']:7.1f} ms CPU, {memory['explicit']:6.0f} MiB;  "
              f"fused {row['fused']['cpu_ms']:7.1f} ms, {memory['fused']:6.0f} MiB;  time {row['fused']['ratio_cpu']:.2f}×, memory {memory['fused'] / max(1, memory['explicit']):.2f}×", flush=True)
    o.out.parent.mkdir(parents=True, exist_ok=True)
    o.out.write_text(json.dumps(dict(command="python bench/attention_cost.py", torch=torch.__version__, threads=o.threads, step=step, sizes=sizes), indent=1) + "\n")
    print(f"written to {o.out}")
