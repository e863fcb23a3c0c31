"""Networks for training: by name or of one's own; counted before they fill the memory, checked before training."""
import copy
import importlib
import inspect
import math
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .core import InputError
from .dcgan import MODELS, build_model, register_model
from .guards import guard

__all__ = ["latent_dim_of", "copy_network", "check_networks", "name_of_networks", "register_named", "is_own",
           "build_networks"]


def latent_dim_of(
    G: nn.Module,  # a generator
) -> int:
    "How long the latents of a generator are."
    n = getattr(G, "latent_dim", None)
    if not isinstance(n, int) or n < 1:
        raise InputError(
            f"{type(G).__name__} has no latent_dim: set G.latent_dim to the length of its latents, a whole number")
    return n


def copy_network(
    network: nn.Module,  # somebody's; left as it is
) -> nn.Module:  # on the CPU
    "A copy to work with."
    try: return copy.deepcopy(network).cpu()
    except RuntimeError as e:
        raise InputError(
            f"{type(network).__name__} cannot be copied ({_first_line(e)}), which its moving average needs") from None


def _first_line(error: BaseException) -> str:
    return (str(error) or repr(error)).splitlines()[0][:200]


def _called(what: str, call: Callable[[], Any], wanted: tuple) -> Tensor:
    "The result of a network if it is a tensor of numbers of the wanted shape."
    try: result = call()
    except Exception as e:
        raise InputError(f"{what} fails: {_first_line(e)}") from e
    if not isinstance(result, Tensor): raise InputError(f"{what} gives a {type(result).__name__}: a tensor is wanted")
    if tuple(result.shape) != wanted:
        raise InputError(f"{what} gives the shape {tuple(result.shape)}: {wanted} is wanted")
    if not result.is_floating_point() or not result.isfinite().all():
        raise InputError(f"{what} gives what is no finite floating point number")
    return result


def _check_weights(network: nn.Module, what: str) -> None:
    "Whether there is something to train, and whether it can be stored."
    if not isinstance(network, nn.Module):
        raise InputError(f"{what} is a {type(network).__name__}: a torch.nn.Module is wanted")
    if not any(p.requires_grad for p in network.parameters()):
        raise InputError(f"{what}, a {type(network).__name__}, has no parameters that can be trained")
    stored = [v for v in network.state_dict().values() if not isinstance(v, Tensor) or v.numel()]
    if not all(isinstance(v, Tensor) for v in stored):
        raise InputError(f"the state of {what} holds more than tensors: a checkpoint cannot keep it")
    if len({v.data_ptr() for v in stored}) < len(stored):
        raise InputError(f"two weights of {what} share their memory: a checkpoint cannot keep them")


def check_networks(
    G: nn.Module,  # has latent_dim; G(z) gives (B,C,H,W) in [-1,1]
    D: nn.Module,  # D(x) gives (B,) logits
    img_size: int,  # of the images they are trained on
    img_channels: int,
) -> None:
    "An `InputError` for the first thing that networks of one's own lack; tried on copies, with a batch of two."
    _check_weights(G, "G")
    _check_weights(D, "D")
    latent_dim, shape = latent_dim_of(G), (2, img_channels, img_size, img_size)
    G, D = copy_network(G).train(), copy_network(D).train()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():  # they may draw numbers of their own, e.g. dropout
        z = torch.randn(2, latent_dim)
        fake = _called(f"G(z) with z of shape {tuple(z.shape)}", lambda: G(z), shape)
        if fake.abs().max() > 1:
            largest = fake.abs().max().item()
            raise InputError(f"G(z) reaches {largest:.3g}: images in [-1,1] are wanted, end with nn.Tanh()")
        logits = _called(f"D(x) with x of shape {shape}", lambda: D(fake), (2,))
        if not logits.requires_grad: raise InputError("no gradient passes from D(x) back to G: one of them detaches")
        found = torch.autograd.grad(logits.sum(), [p for p in G.parameters() if p.requires_grad], allow_unused=True)
    if all(g is None for g in found): raise InputError("no gradient passes from D(x) back to G: one of them detaches")


def name_of_networks(
    G: nn.Module,
    D: nn.Module,
) -> str:  # e.g. "MyGenerator and MyDiscriminator"; with spaces, so that it is never a registered name
    "What config.json calls networks of one's own: the names of their classes, for people to read."
    return f"{type(G).__qualname__} and {type(D).__qualname__}"


def register_named(
    name: str,  # "module:function"; the module is looked for in the current folder, too
) -> str:  # the same, now known to `build_model` and `train`
    """Import a function that makes networks of one's own, and register it: what `--model module:function` does.

    It is called as `register_model` says, with (img_size, img_channels, latent_dim, base_channels, head), and returns
    G and D. Only whoever types the name causes the import: a name in a config.json is never imported."""
    module, _, function = name.partition(":")
    if not (all(part.isidentifier() for part in module.split(".")) and function.isidentifier()):
        raise InputError(
            f"'{name}' names no function: give module:function, such as mine:networks for networks() in mine.py")
    sys.path.insert(0, here := os.getcwd())
    try: build = getattr(importlib.import_module(module), function, None)
    except Exception as e:
        raise InputError(f"module {module} cannot be imported: {_first_line(e)}") from e
    finally: sys.path.remove(here)
    if not callable(build): raise InputError(f"module {module} has no function {function}")
    register_model(name, build)
    return name


def is_own(
    model: str,  # a name
) -> bool:
    "Whether networks of one's own were registered in this process under that name."
    return not isinstance(MODELS.get(model, ""), str)


def _count(model: str, shape: dict) -> float:
    "Numbers in both networks, which are built without memory; 0 if that cannot be told, infinite if it overflows."
    try:
        with torch.device("meta"): pair = inspect.unwrap(build_model)(model, **shape)  # as it is, on this device
        return sum(p.numel() for net in pair for p in net.parameters())
    except Exception as e:  # what is wrong is met again, and said, where they are built for real
        return math.inf if "overflow" in str(e).lower() else 0


def build_networks(
    model: str,  # a registered name
    shape: dict,  # img_size, img_channels, latent_dim, base_channels, head
    seed: int = 0,  # of the initial weights
    copies: int = 1,  # how often their numbers will lie in memory
) -> tuple[nn.Module, nn.Module]:  # G, D
    "The networks; first as shapes without numbers, to see whether `copies` of them fit into memory."
    import psutil

    shape = {k: shape[k] for k in ("img_size", "img_channels", "latent_dim", "base_channels", "head")}
    numbers, memory = _count(model, shape), psutil.virtual_memory().total
    if numbers * 4 * copies > memory:
        raise InputError(
            f"base_channels {shape['base_channels']} and latent_dim {shape['latent_dim']} ask for networks of "
            f"{numbers:.1e} numbers, more than the {memory / 1e9:.0f} GB of memory here can hold: "
            "choose a smaller base_channels")
    if not is_own(model): return build_model(model, seed, **shape)
    try: G, D = build_model(model, seed, **shape)
    except InputError: raise
    except Exception as e:
        raise InputError(f"the networks of '{model}' cannot be made: {_first_line(e)}") from e
    return G, D


guard(__name__)
