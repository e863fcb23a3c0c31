"""Strangers' networks under Grad-CAM: what goes in, what comes out, and whether its score can be explained."""
import contextlib
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from .core import ImageSet, InputError, to_float
from .data import has_split, load_images
from .features import to_channels
from .guards import guard, warn
from .runs import Run
from .session import undisturbed

__all__ = ["grey_input", "has_extent", "as_input", "output_of", "one_logit", "own_score", "gradient_of", "is_saturated",
           "note", "explaining", "images_to_explain"]


def grey_input(
    model: nn.Module,
) -> Tensor:  # (2,C,H,W)
    "Two grey images of the kind that the network takes, as far as that is known."
    first = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    channels, size = getattr(model, "img_channels", None) or first, getattr(model, "img_size", 64)
    if not all(isinstance(x, int) and 0 < x <= 4096 for x in (channels, size)):
        raise InputError(f"this {type(model).__name__} asks for {channels!r:.20} channels of {size!r:.20} pixels: "
                         "give images, as it takes them")
    return torch.zeros(2, channels, size, size)


def has_extent(
    output: Any,  # of a layer
    n: int,  # images it was given
) -> bool:
    "Whether a layer gave maps (n,K,h,w) with more than one position."
    return isinstance(output, Tensor) and output.ndim == 4 and len(output) == n and output[0, 0].numel() > 1


def as_input(
    model: nn.Module,
    images: Tensor,  # (B,C,H,W)
) -> Tensor:
    "Images as the network takes them: uint8 → [-1,1], floats as they are; its channels, its device, its type."
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
    labels: Tensor | None = None,  # (B,) of a conditional network
) -> Any:  # whatever it returns
    "What a network returns; an `InputError` where it fails. Weights made in inference mode are copied for it."
    state = {name: t.detach().clone() for part in (model.named_parameters(), model.named_buffers())
             for name, t in part if t.is_inference()}
    given = (x,) if labels is None else (x, labels.to(x.device))
    try: return functional_call(model, state, given) if state else model(*given)
    except InputError: raise
    except Exception as e:  # a stranger's code may raise anything
        raise InputError(f"this {type(model).__name__} fails on images of shape {tuple(x.shape)} ({_reason(e)}): "
                         "give a network that takes images, and images as it takes them") from e


def _reason(error: Exception) -> str:
    "What an error of somebody's code says, in a line."
    return " ".join(str(error).split())[:200] or type(error).__name__


def one_logit(
    output: Any,  # of a network, given n images
    n: int,
    target: str,  # "fake" or "real", for the message
) -> Tensor:  # (n,)
    "The single logit of each image, or an `InputError` that says which function to give."
    if isinstance(output, Tensor) and output.numel() == n and output.shape[:1] in ((n,), ()):
        if output.is_floating_point(): return output.flatten()
        raise InputError(f"the network's output is {output.dtype}: a logit has to be a float, with a gradient")
    what, example = f"is a {type(output).__name__}", "output.logits[:, 0]"
    if isinstance(output, list | tuple): example = "output[0].flatten()"
    if isinstance(output, Tensor):
        what, places = f"has shape {tuple(output.shape)}", tuple(range(1, output.ndim))
        example = f"output[:, {min(3, output.shape[1] - 1)}]" if output.ndim == 2 else f"output.mean({places})"
    if isinstance(output, dict) and output:
        what = f"is a dict of {', '.join(map(repr, output))}"[:100]
        example = f"output[{next(iter(output))!r}].flatten()"
    raise InputError(f"the network's output {what}, so there is no single logit for target '{target}': "
                     f"give a function such as target=lambda output: {example}")


def own_score(
    target: Callable,  # a function output → (n,)
    output: Any,  # of a network, given n images
    n: int,
) -> Tensor:  # (n,)
    "What a target function makes of an output, if it is a number for each image."
    try: score = target(output)
    except Exception as e:  # somebody's code may raise anything
        raise InputError(f"the target function fails on the network's output, a {type(output).__name__} "
                         f"({_reason(e)}): give a function of what the network returns") from e
    if isinstance(score, Tensor) and score.shape == (n,) and score.is_floating_point(): return score
    given = f"{tuple(score.shape)} {score.dtype}" if isinstance(score, Tensor) else type(score).__name__
    raise InputError(f"the target gave {given}: give one score for each of the {n} images, shape ({n},), as floats")


def gradient_of(
    score: Tensor,  # (B,)
    at: Tensor,  # activations of a layer
) -> Tensor | None:  # of their shape
    "The gradient of the scores; None where they do not depend on the activations."
    try: return torch.autograd.grad(score.sum(), at, allow_unused=True)[0] if score.requires_grad else None
    except RuntimeError as e:  # a step of somebody's network that has no derivative, or writes in place
        raise InputError(f"no gradient passes back through this network ({_reason(e)})") from e


_ENDS = dict(Sigmoid=(0., 1.), Softmax=(0., 1.), Tanh=(-1., 1.))  # steps of the graph, and where their outputs end
_PLAIN = ("Neg View UnsafeView ReshapeAlias Squeeze Unsqueeze Select Slice Index Mean Sum Mul Div Add Sub Rsub Log "
          "ToCopy Clone Alias AsStrided Permute T Transpose Unbind Split Expand Stack Cat").split()  # those in between


def is_saturated(
    score: Tensor,  # (B,) with its graph
    near: float = 1e-3,  # of the range of the sigmoid
) -> Tensor:  # (B,) bool
    """Whether a score comes out of sigmoids, softmaxes or tanhs, and out of their flat ends, where no gradient passes.

    Of a score made of several, as of a network with a list of outputs, all have to."""
    none = torch.zeros(len(score), dtype=torch.bool)
    steps, flat = [score.grad_fn], []  # the steps grow while they are walked through
    for step in steps:
        name = "" if step is None else step.name().split("Backward")[0]
        if name in _ENDS:
            flat.append(_at_end(getattr(step, "_saved_result", none), *_ENDS[name], near))
            if len(flat[-1]) != len(score): return none
            continue
        before = [f for f, _ in step.next_functions if f is not None and f not in steps] if step is not None else []
        if name not in _PLAIN or len(steps) > 100: return none
        steps += before
    return torch.stack(flat).all(0) if flat else none


def _at_end(out: Tensor, low: float, high: float, near: float) -> Tensor:
    "Whether all numbers of an image lie near the ends of the range; empty where there are no images."
    out = out.detach().float().cpu()
    flat = torch.minimum(out - low, high - out) < near * (high - low)
    return flat.reshape(len(flat), -1).all(1) if flat.ndim else flat.new_zeros(0)


_seen: ContextVar[dict | None] = ContextVar("_seen", default=None)  # what, layer → images of which it is true, images


def note(
    what: str,  # "saturated" or "black"
    found: Tensor,  # (B,) bool, of which images it is true
    layer: Any,  # which is explained: the images are the same at each
) -> None:
    "Count images for the one warning at the end of `explaining`."
    seen = _seen.get()
    if seen is None: return
    true, n = seen.get((what, layer), (0, 0))
    seen[what, layer] = true + int(found.sum()), n + len(found)


def _worst(seen: dict, what: str) -> tuple[int, int, Any]:
    "At the layer where it is true of most images: of how many, of how many in all, and the layer."
    counts = [(*count, layer) for (kind, layer), count in seen.items() if kind == what]
    return max(counts, default=(0, 0, ""), key=lambda count: count[0])


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Around what makes heat maps, as a decorator: the session changes nothing, compiled networks run as written, and
    what is wrong with many maps is said once."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(undisturbed(grad=True))
        if "torch._dynamo" in sys.modules: stack.enter_context(torch.compiler.set_stance("force_eager"))
        if _seen.get() is not None:  # within another
            yield
            return
        stack.callback(_seen.reset, _seen.set(seen := {}))
        yield
    (saturated, n, _), (black, of, layer) = _worst(seen, "saturated"), _worst(seen, "black")
    if saturated:
        warn(f"the score of {saturated} of {n} images is saturated: it comes out of a sigmoid, softmax or "
             "tanh, at whose ends no gradient passes, so that maps turn black or to noise; explain the tensor "
             "that goes into it, the logit: let the network return that, e.g. with nn.Identity() in place of "
             "nn.Sigmoid()")
    elif 2 * black > of:
        name = f"'{layer}'" if isinstance(layer, str) else type(layer).__name__
        warn(f"the maps of {black} of {of} images at layer {name} are 0 everywhere: nothing there speaks for "
             "this target; try the other target or another layer, and look at the range of the images")


def images_to_explain(
    run: Run | nn.Module,
    images: ImageSet | Tensor | np.ndarray | str | Path | None,  # as for `explain`
    limit: int,  # at most so many
) -> ImageSet:
    "Images of what was given, in the channels that the network takes; by default held-out ones of the run."
    if isinstance(images, np.ndarray): images = ImageSet.of(images).images
    if isinstance(images, ImageSet): return images.subset(slice(0, limit))
    if isinstance(images, Tensor): return ImageSet(images[:limit], name="given", split="")
    if isinstance(run, Run) and images is None: return _held_out(run, limit)
    if isinstance(run, Run) and images == "samples": return _generated(run, limit)
    if images is None: raise InputError("a network alone has no images: give images, an ImageSet or a tensor")
    split = "test" if has_split(images, "test") else "train"
    size, channels = getattr(run, "img_size", None), getattr(run, "img_channels", None)
    if isinstance(run, Run): channels = run.info["model"]["img_channels"]
    known = channels if channels in (1, 3) else None
    return load_images(images, split, size=size, channels=known, progress=False).sample(limit)


def _held_out(run, limit):
    "Held-out images of the run's data, training images if none are held out, samples if all are gone."
    data = run.config.data
    try:
        split = "test" if data is not None and has_split(data, "test") else "train"
        return run.images(split, download=False, progress=False).sample(limit)
    except InputError:
        return _generated(run, limit, f" ({run.info['data']['name']} is not at hand)")


def _generated(run, limit, why=""):
    "The samples of a run as an `ImageSet`."
    labels = None if run.labels is None else run.labels[:limit]
    return ImageSet(run.samples()[:limit], labels, run.classes, name=f"generated images of {run.path.name}{why}",
                    split="")


guard(__name__, {
    "n": "1..1e9", "limit": "1..1e9", "images": "B C H W", "images_to_explain.images": "any",
    "x": "B …", "at": "B …", "score": "B float", "near": "0..1",
})
