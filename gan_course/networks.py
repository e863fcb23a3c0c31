"""Networks for training: by name or of one's own; counted before they fill the memory, checked before training."""
import copy
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .core import InputError
from .dcgan import MODELS, build_model, register_model
from .guards import guard
from .storage import open_regular

__all__ = ["latent_dim_of", "copy_network", "check_networks", "name_of_networks", "register_named", "is_own",
           "outline", "check_fits", "build_networks"]

SHAPE = ("img_size", "img_channels", "latent_dim", "base_channels", "head")  # what `build_model` is told
MAYBE = ("num_classes",)  # and where a run has it
MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # what Adam keeps of a weight


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
    num_classes: int | None = None,  # that both are told
) -> None:
    "An `InputError` for the first thing that networks of one's own lack; tried on copies, with a batch of two."
    _check_weights(G, "G")
    _check_weights(D, "D")
    latent_dim, shape = latent_dim_of(G), (2, img_channels, img_size, img_size)
    for net in (G, D):
        if num_classes and getattr(net, "num_classes", None) != num_classes:
            raise InputError(f"{type(net).__name__} is not made for the {num_classes} classes of the images: give one "
                             "that is called with labels and has num_classes, or leave labels out")
    G, D = copy_network(G).train(), copy_network(D).train()
    told = (torch.arange(2) % num_classes,) if num_classes else ()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():  # they may draw numbers of their own, e.g. dropout
        z = torch.randn(2, latent_dim)
        fake = _called(f"G(z) with z of shape {tuple(z.shape)}", lambda: G(z, *told), shape)
        if fake.abs().max() > 1:
            largest = fake.abs().max().item()
            raise InputError(f"G(z) reaches {largest:.3g}: images in [-1,1] are wanted, end with nn.Tanh()")
        logits = _called(f"D(x) with x of shape {shape}", lambda: D(fake, *told), (2,))
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


def outline(
    model: str,  # a registered name
    shape: dict,  # img_size, img_channels, latent_dim, base_channels, head
) -> tuple[nn.Module, nn.Module] | None:  # G, D on the device "meta"; None if networks of one's own cannot be there
    "The networks without memory: what their tensors are called, and their shapes."
    try:
        with torch.device("meta"):
            return inspect.unwrap(build_model)(model, **_known(shape))  # unguarded: it would go to the CPU
    except InputError: raise
    except Exception as e:  # what is wrong is met again, and said, where they are built for real
        if "overflow" not in str(e).lower(): return None
        raise InputError(f"{_asked(shape)} larger than any memory: choose a smaller base_channels") from None


def _known(shape: dict) -> dict:
    "What `build_model` is told, out of a shape that may say more."
    missing = [name for name in SHAPE if name not in shape]
    if missing: raise InputError(f"the shape of the networks does not say {', '.join(missing)}")
    return {name: shape[name] for name in (*SHAPE, *MAYBE) if name in shape}


def _asked(shape: dict) -> str:
    return f"base_channels {shape['base_channels']} and latent_dim {shape['latent_dim']} ask for networks"


def check_fits(
    file: str | Path,  # a checkpoint, perhaps a stranger's
    G: nn.Module | None = None,  # what it has to fit, "meta" or not; None: nothing of it is read
    D: nn.Module | None = None,
) -> None:
    "An `InputError` if a checkpoint holds other tensors than its networks; no more than its table is read."
    known = {"G": G, "ema": G, "D": D}
    states = {part: net.state_dict() for part, net in known.items() if net is not None}
    weights = {part: list(net.parameters()) for part, net in (("opt_g", G), ("opt_d", D)) if net is not None}
    try:
        with open_regular(file), safe_open(file, "pt") as f:
            for name in f.keys():
                part, _, key = name.partition(".")
                if part in weights: _check_moment(f, name, key, weights[part])
                elif part in states: _check_like(f, name, states[part].get(key))
                elif part not in ("opt_g", "opt_d", *known): raise InputError(f"no run writes a tensor '{name:.60}'")
            _check_complete(f)
    except InputError as e: raise InputError(f"{file} does not fit the networks of its config.json: {e}") from None
    except (SafetensorError, OSError, ValueError) as e:
        raise InputError(
            f"{file} cannot be read as safetensors ({e}): the file is missing, cut off or of another kind") from None


def _check_like(f: Any, name: str, wanted: Tensor | None) -> None:
    "Whether a tensor of a file could be this one."
    if wanted is None: raise InputError(f"they have no '{name:.60}'")
    there, kind = f.get_slice(name), "floats" if wanted.is_floating_point() else "whole numbers"
    shape, kinds = tuple(there.get_shape()), {"floats": ("F16", "BF16", "F32", "F64"), "whole numbers": ("I32", "I64")}
    if shape != tuple(wanted.shape) or there.get_dtype() not in kinds[kind]:
        raise InputError(f"{name} holds {there.get_dtype()} of shape {shape}, not {kind} of {tuple(wanted.shape)}")


def _check_moment(f: Any, name: str, key: str, weights: list[nn.Parameter]) -> None:
    "Whether a tensor belongs to the state of Adam: `i.exp_avg`, `i.exp_avg_sq` or `i.step` of the i-th weight."
    number, _, what = key.partition(".")
    if not (number.isascii() and number.isdecimal() and len(number) < 6 and int(number) < len(weights)
            and what in MOMENTS): raise InputError(f"'{name:.60}' belongs to no weight")
    like = torch.zeros(()) if what == "step" else weights[int(number)]
    _check_like(f, name, like)
    if what == "step" and not 1 <= (step := float(f.get_tensor(name))) < 1e18: raise InputError(f"{name} is {step}")


def _check_complete(f: Any) -> None:
    "Adam has three tensors for a weight, or none."
    names = list(f.keys())
    for name in names:
        stem = name.rpartition(".")[0]
        for what in MOMENTS:
            if name.startswith("opt_") and f"{stem}.{what}" not in names: raise InputError(f"there is no {stem}.{what}")


def build_networks(
    model: str,  # a registered name
    shape: dict,  # img_size, img_channels, latent_dim, base_channels, head
    seed: int = 0,  # of the initial weights
    copies: int = 1,  # how often their numbers will lie in memory
    file: Path | None = None,  # a checkpoint that has to fit them
) -> tuple[nn.Module, nn.Module]:  # G, D
    "The networks; first as shapes without numbers, to see whether `copies` of them fit into memory."
    import psutil

    shape = _known(shape)
    pair, memory = outline(model, shape), psutil.virtual_memory().total
    numbers = sum(p.numel() for net in pair or () for p in net.parameters())
    if numbers * 4 * copies > memory:
        raise InputError(f"{_asked(shape)} of {numbers:.1e} numbers, more than the {memory / 1e9:.0f} GB of memory "
                         "here can hold: choose a smaller base_channels")
    if pair and file: check_fits(file, *pair)
    try: G, D = build_model(model, seed, **shape)
    except InputError: raise
    except Exception as e:
        raise InputError(f"the networks of '{model}' cannot be made: {_first_line(e)}") from e
    if file and not pair: check_fits(file, G, D)
    return G, D


guard(__name__, {"img_size": "1..16384", "img_channels": "1..4", "copies": "1.."})
