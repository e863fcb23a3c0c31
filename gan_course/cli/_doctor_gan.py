"""Two parts of `gan-course doctor`: the memory there is, and a GAN of twenty seconds."""
from __future__ import annotations

import time
from pathlib import Path

SECONDS = 20  # of training
PICTURE = Path("_runs/doctor.png")
LITTLE = 2e9  # bytes: a training on CIFAR-10 takes about 1.2 GB


def memory(to_do: list[str]) -> str:
    """How much there is, and how much of it nobody uses."""
    import psutil

    from gan_course.cli._doctor import size

    m = psutil.virtual_memory()
    if m.available < LITTLE:
        to_do.append(f"only {size(m.available)} of memory are free: close what takes it before you train")
    return f"{size(m.total)}, of which {size(m.available)} are free"


def little_gan(to_do: list[str]) -> str:
    """Train a small DCGAN on toy birds for some seconds, and save what it makes."""
    import torch

    from gan_course.cli._doctor import here
    from gan_course.core import image_grid, seeded, to_float
    from gan_course.dcgan import build_model
    from gan_course.losses import get_loss
    from gan_course.steps import d_step, g_step, generate
    from gan_course.toybirds import toy_birds

    device, dice, loss = here(), seeded(0), get_loss("bce")
    birds = to_float(toy_birds(1000).images)
    G, D = (net.to(device) for net in build_model("dcgan", base_channels=16))
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), 1e-3, (.5, .999)) for net in (G, D))
    began, steps, losses = time.perf_counter(), 0, {}
    while time.perf_counter() - began < SECONDS:
        real = birds[torch.randint(len(birds), (64,), generator=dice)].to(device)
        fake = G(torch.randn(64, 100, generator=dice).to(device))
        losses = d_step(D, opt_d, real, fake, loss) | g_step(D, opt_g, fake, loss)
        steps += 1
    seconds = time.perf_counter() - began
    if not all(value.isfinite() for value in losses.values()):
        to_do.append("the losses of a small GAN are not finite: try another version of torch, or the CPU")
    save(image_grid(generate(G, torch.randn(32, 100, generator=dice))))
    return f"{steps} steps of a small DCGAN in {seconds:.0f} s, {64 * steps / seconds:.0f} images a second: {PICTURE}"


def save(grid) -> None:
    """The picture, twice as large as it is."""
    from PIL import Image

    from gan_course.storage import atomic_write

    PICTURE.parent.mkdir(exist_ok=True)
    height, width = grid.shape[1:]
    picture = Image.fromarray(grid.permute(1, 2, 0).numpy()).resize((2 * width, 2 * height), Image.Resampling.NEAREST)
    with atomic_write(PICTURE) as part: picture.save(part, format="PNG")
