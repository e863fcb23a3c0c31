"""Strangers' networks under Grad-CAM: what goes in, what comes out, and whether its score can be explained."""
import contextlib
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .core import InputError, to_float
from .features import to_channels
from .guards import guard
from .session import undisturbed

__all__ = ["grey_input", "has_extent", "as_input", "output_of", "one_logit", "is_saturated", "note_saturated",
           "explaining"]


def grey_input(
    model: nn.Module,
) -> Tensor:  # (2,C,H,W)
    "Two grey images of the kind that the network takes, as far as that is known."
    first = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    channels, size = getattr(model, "img_channels", None) or first, getattr(model, "img_size", 64)
    return torch.zeros(2, channels, size, size)


def has_extent(
    output: Any,  # of a layer
    n: int,  # images it was given
) -> bool:
    "Whether a layer gave maps (n,K,h,w) with more than one position."
    return isinstance(output, Tensor) and output.ndim == 4 and len(output) == n and output[0, 0].numel() > 1


def as_input(
    model: nn.Module,
    images: Any,  # (B,C,H,W); what else is given is refused
) -> Tensor:
    "Images as the network takes them: uint8 → [-1,1], floats as they are; its channels, its device, its type."
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.numel():
        shape = tuple(getattr(images, "shape", ()))
        raise InputError(f"images have shape {shape}: give a tensor (B,C,H,W), uint8 or float")
    if images.dtype != torch.uint8 and not (images.is_floating_point() and images.isfinite().all()):
        raise InputError(f"images are {images.dtype} and not all finite floats: give uint8 or finite floats")
    channels = getattr(model, "img_channels", images.shape[1])
    images = to_channels(images, channels)
    if images.shape[1] != channels:
        raise InputError(f"images have {images.shape[1]} channels, but this network takes {channels}")
    x = to_float(images) if images.dtype == torch.uint8 else images
    if hasattr(model, "img_size") and x.abs().max() > 1.001:
        raise InputError(f"float images reach from {x.min():.3g} to {x.max():.3g}, "
                         "but this network takes [-1,1]: give uint8, or scale them")
    if x.is_inference(): x = x.clone()  # of a session in inference mode: nothing could be kept for the gradient
    weight = next((p for p in model.parameters() if p.is_floating_point()), x)
    return x.to(weight.device, weight.dtype)


def output_of(
    model: nn.Module,
    x: Tensor,  # from `as_input`
) -> Any:  # whatever it returns
    "What a network returns; an `InputError` where it fails. Weights made in inference mode are copied for it."
    state = {name: t.detach().clone() for part in (model.named_parameters(), model.named_buffers())
             for name, t in part if t.is_inference()}
    try: return functional_call(model, state, (x,)) if state else model(x)
    except InputError: raise
    except Exception as e:  # a stranger's code may raise anything
        reason = " ".join(str(e).split())[:200] or type(e).__name__
        raise InputError(f"this {type(model).__name__} fails on images of shape {tuple(x.shape)} ({reason}): "
                         "give a network that takes images, and images as it takes them") from e


def one_logit(
    output: Any,  # of a network, given n images
    n: int,
    target: str,  # "fake" or "real", for the message
) -> Tensor:  # (n,)
    "The single logit of each image, or an `InputError` that says which function to give."
    if isinstance(output, Tensor) and output.numel() == n: return output.flatten()
    what, example = f"is a {type(output).__name__}", "output[0].flatten()"
    if isinstance(output, Tensor): what, example = f"has shape {tuple(output.shape)}", "output[:, 3]"
    if isinstance(output, dict) and output:
        what = f"is a dict of {', '.join(map(repr, output))}"
        example = f"output[{next(iter(output))!r}].flatten()"
    raise InputError(f"the network's output {what}, so there is no single logit for target '{target}': "
                     f"give a function such as target=lambda output: {example}")


_ENDS = dict(Sigmoid=(0., 1.), Softmax=(0., 1.), Tanh=(-1., 1.))  # steps of the graph, and where their outputs end
_PLAIN = ("Neg View UnsafeView ReshapeAlias Squeeze Unsqueeze Select Slice Index Mean Sum Mul Div Add Sub Rsub Log "
          "ToCopy Clone Alias AsStrided Permute T Transpose Unbind Split Expand").split()  # those in between


def is_saturated(
    score: Tensor,  # (B,) with its graph
    near: float = 1e-3,  # of the range of the sigmoid
) -> Tensor:  # (B,) bool
    "Whether a score comes out of a sigmoid, softmax or tanh, and out of its flat ends, where no gradient passes."
    step, none = score.grad_fn, torch.zeros(len(score), dtype=torch.bool)
    for _ in range(20):
        name = "" if step is None else step.name().split("Backward")[0]
        if name in _ENDS:
            low, high = _ENDS[name]
            out = getattr(step, "_saved_result", none).detach().float().cpu()
            flat = torch.minimum(out - low, high - out) < near * (high - low)
            return flat.reshape(len(flat), -1).all(1) if flat.ndim and len(flat) == len(score) else none
        before = [f for f, _ in step.next_functions if f is not None] if step is not None else []
        if name not in _PLAIN or len(before) != 1: return none
        step = before[0]
    return none


_seen: ContextVar[dict | None] = ContextVar("_seen", default=None)  # layer → saturated scores, all scores


def note_saturated(
    score: Tensor,  # (B,) with its graph
    layer: Any,  # which is explained: the images are the same at each
) -> None:
    "Count scores for the one warning at the end of `explaining`."
    seen = _seen.get()
    if seen is None: return
    saturated, n = seen.get(layer, (0, 0))
    seen[layer] = saturated + int(is_saturated(score).sum()), n + len(score)


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    "Around what makes heat maps, as a decorator: the session changes nothing, and a saturated score is said once."
    with undisturbed(grad=True):
        if _seen.get() is not None:  # within another
            yield
            return
        token = _seen.set({})
        try:
            yield
            saturated, n = max((_seen.get() or {}).values(), default=(0, 0))
        finally: _seen.reset(token)
    if saturated:
        warnings.warn(f"the score of {saturated} of {n} images is saturated: it comes out of a sigmoid, softmax or "
                      "tanh, at whose ends no gradient passes, so that maps turn black or to noise; explain the tensor "
                      "that goes into it, the logit: let the network return that, e.g. with nn.Identity() in place of "
                      "nn.Sigmoid()", stacklevel=4)


guard(__name__)
