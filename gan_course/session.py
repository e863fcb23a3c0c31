"""What earlier cells of a session left behind, and how many numbers are drawn, changes no result."""
import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .core import seeded
from .guards import InputError, guard

__all__ = ["undisturbed", "draw_latents", "draw_labels", "labels_in_order"]


@contextlib.contextmanager
def undisturbed(
    grad: bool = False,  # whether gradients are wanted
) -> Iterator[None]:
    """As in a fresh session: float32 on the CPU and in full, no autocast, no inference mode; all of it is put back.

    A decorator as well. The number of threads is left as it is: how much of a machine may be used is for its user."""
    dtype, precision, threads = torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.get_num_threads()
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_default_dtype, dtype)
        stack.callback(torch.set_float32_matmul_precision, precision)
        stack.callback(_set_threads, threads)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        if torch.get_default_device().type != "cpu": stack.enter_context(torch.device("cpu"))
        for device in {"cpu", str(getattr(torch.accelerator.current_accelerator(), "type", "cpu"))}:
            if torch.is_autocast_enabled(device): stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(grad))
        yield


def _set_threads(n: int) -> None:
    if torch.get_num_threads() != n: torch.set_num_threads(n)


def draw_latents(
    n: int,
    shape: int | tuple[int, ...],  # of one
    *seed: int,  # as for `seeded`
) -> Tensor:  # (n,*shape) float32, on the CPU
    """Normal numbers; the i-th latent depends on the seed and on i alone, however many are drawn.

    `torch.randn` fills blocks of 16 numbers and draws the last 16 anew if the total is no multiple of 16: a multiple
    of 16 latents is drawn, and cut."""
    shape = (shape,) if isinstance(shape, int) else shape
    if min(shape, default=1) < 1 or n * math.prod(shape) > 2**28:
        raise InputError(f"{n:,} latents of shape {shape} cannot be drawn: each size has to be 1 or more, "
                         f"and all of them together at most {2**28:,} numbers")
    some = torch.randn(-(-n // 16) * 16, *shape, generator=seeded(*seed), dtype=torch.float32, device="cpu")
    return some[:n].clone() if len(some) > n else some


def draw_labels(
    n: int,
    num_classes: int,
    *seed: int,  # as for `seeded`
) -> Tensor:  # (n,) int64, on the CPU
    """Classes, each as likely as any other; the i-th depends on the seed and on i alone."""
    return torch.randint(num_classes, (n,), generator=seeded(*seed), device="cpu")


def labels_in_order(
    n: int,
    num_classes: int,
) -> Tensor:  # (n,) int64: 0, 0, …, 1, 1, …, as many of each as possible
    """Classes for a picture that shows them one after the other."""
    return torch.arange(n, device="cpu") * num_classes // n


guard(__name__, {"n": "1..1e9", "num_classes": "1..1e6"})
