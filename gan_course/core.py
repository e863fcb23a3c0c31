"""Images, seeds, grids and good error messages: the small pieces that all of the course stands on."""
import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .guards import InputError, guard, shown

__all__ = [
    "InputError", "choose", "progress_bar", "to_float", "to_uint8", "as_bytes", "seeded", "ImageSet",
    "image_grid", "cut_grid", "new_figure", "show_images",
]


# --- messages that help

def choose(
    name:str, # what was asked for
    options:Iterable, # the names there are
    what:str, # what they name: "loss", "model", …
) -> str: # the name, if there is such a one
    "`name` if it is one of `options`; otherwise an `InputError` that names the nearest one."
    options = list(options)
    if name in options: return name
    near = difflib.get_close_matches(str(name), options, 1, .4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise InputError(f"there is no {what} {shown(name)}: {hint}there are {', '.join(options)}")


# --- bars

def progress_bar(
    items=None, # what is gone through; None: the bar is moved by hand
    what:str="", # is done with them
    show:bool=True,
    **how, # total, initial, unit, … of tqdm
): # tqdm
    "A bar where somebody sees it move, in a terminal or a notebook: a file would keep every state of it."
    from tqdm import auto, autonotebook, std

    in_notebook = autonotebook.tqdm is not std.tqdm  # asked so, no widgets are imported where none are shown
    seen = in_notebook or (sys.stderr is not None and sys.stderr.isatty())
    return auto.tqdm(items, desc=what, disable=not (show and seen), **how)


# --- the range of an image, and chance

def to_float(
    images:Tensor, # (…) uint8, 0…255
) -> Tensor: # (…) float32 in [-1,1]
    "Pixels as the networks see them."
    return images.float() / 127.5 - 1


def to_uint8(
    x:Tensor, # (…) float, meant to lie in [-1,1]; what lies a little outside is clamped
) -> Tensor: # (…) uint8, 0…255
    "Pixels as files hold them: clamp, then round; never stretched from minimum to maximum."
    most = x.abs().max().item()
    if most > 16: raise InputError(f"pixels reach {most:.3g}: [-1,1] is expected; levels 0…255 are made by `.byte()`")
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def as_bytes(
    images:Tensor|np.ndarray, # (N,C,H,W) uint8, or float in [-1,1]
    part:bool=False, # of a larger set: then no pixel of it has to be dark
) -> Tensor: # (N,C,H,W) uint8
    "Images as bytes; an `InputError` says what is wrong with them."
    x = _as_images(images)
    if x.dtype == torch.uint8: return x
    if not x.is_floating_point():
        raise InputError(f"images of type {_kind(x)} were given: uint8, or float in [-1,1], is expected")
    low, high = x.min().item(), x.max().item()
    given = f"float images between {low:g} and {high:g} were given"
    if not (low >= -1 and high <= 1):
        raise InputError(f"{given}: [-1,1] is expected; look for NaN, or clamp them")
    if low >= 0 and not part:
        raise InputError(f"{given}: they look like [0,1], but [-1,1] is expected; use 2·x - 1, or give uint8")
    return to_uint8(x.detach())


def _as_images(images) -> Tensor: # (N,C,H,W), C 1 or 3, of any type
    "A tensor or a numpy array as a tensor of images."
    x = images if isinstance(images, Tensor) else _from_numpy(images)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        last = x.ndim == 4 and x.shape[-1] in (1, 3)
        turn = "; the channels come second: permute(0, 3, 1, 2)" if last else ""
        raise InputError(f"images of shape {tuple(x.shape)} were given: "
                         f"(N,3,H,W), or (N,1,H,W) for grey, is expected{turn}")
    if not x.numel(): raise InputError(f"images of shape {tuple(x.shape)} were given: at least one is needed")
    return x


def _from_numpy(images:np.ndarray) -> Tensor:
    try: return torch.from_numpy(np.require(images, requirements=["C", "W"]))
    except (TypeError, ValueError): # e.g. texts, objects
        raise InputError(f"{shown(images)} holds no numbers that images could be made of") from None


def _kind(x:Tensor) -> str: return str(x.dtype).removeprefix("torch.")


def seeded(
    *seed:int, # one or several whole numbers, e.g. seed and epoch
) -> torch.Generator: # on the CPU, so that its numbers do not depend on the device
    "A random generator that depends on these numbers alone."
    state = 0
    for s in seed: state = (state * 1_000_003 + int(s) + 1) % (1 << 63)
    return torch.Generator().manual_seed(state)


# --- image sets: what all of the course passes from hand to hand

@dataclass(eq=False, repr=False)
class ImageSet:
    "Images and what is known about them; what is unknown is None."
    images: Tensor # (N,C,H,W) uint8, in memory or memory-mapped
    labels: Tensor|None = None # (N,) int64, index into `classes`
    classes: list[str]|None = None # names of the classes
    masks: Tensor|None = None # (N,H,W) bool, True on the bird
    boxes: Tensor|None = None # (N,4) float32: x, y, width, height in pixels of `images`
    name: str = "" # of the data set
    split: str = "train" # or "test"
    skipped: list[str] = field(default_factory=list) # files that could not be read

    @classmethod
    def of(
        cls,
        images, # an ImageSet, or a tensor or numpy array (N,C,H,W) of uint8, 0…255
        name:str="", # of the data set, where `images` is not one yet
    ) -> "ImageSet": # `images` itself where it is one already
        "An image set of what is at hand; an `InputError` says what is wrong with it."
        return images if isinstance(images, ImageSet) else cls(_as_pixels(images), name=name)

    def __len__(self) -> int: return len(self.images)

    def __repr__(self) -> str:
        n, c, h, w = self.images.shape
        known = [f"{len(self.classes)} classes"] if self.classes else []
        known += [k for k in ("masks", "boxes") if getattr(self, k) is not None]
        known += [f"{len(self.skipped)} skipped"] if self.skipped else []
        return ", ".join([f"ImageSet '{self.name}' {self.split}: {n:,} images {c}×{h}×{w}", *known])

    @property
    def img_size(self) -> int:
        "Pixels a side."
        return self.images.shape[-1]

    @property
    def img_channels(self) -> int:
        "1 for grey images, 3 for colour."
        return self.images.shape[1]

    def subset(
        self,
        index:slice|Tensor, # a slice, or positions, or one bool for each image
    ) -> "ImageSet":
        "The images at `index`, with all that is known about them."
        known = {k: getattr(self, k) for k in ("images", "labels", "masks", "boxes")}
        try: found = {k: rows[index] for k, rows in known.items() if rows is not None}
        except (IndexError, RuntimeError, ValueError) as e:
            raise InputError(f"{shown(index)} tells no images of {len(self):,} ({e})") from None
        return replace(self, **found)

    def sample(
        self,
        n:int, # at most so many
    ) -> "ImageSet":
        "At most n images from all over the set, which may be sorted by class; always the same ones."
        if len(self) <= n: return self
        return self.subset(torch.randperm(len(self), generator=seeded(0))[:n])


def _as_pixels(images) -> Tensor: # (N,C,H,W) uint8
    "The tensor of an image set, from a tensor or a numpy array."
    if not isinstance(images, Tensor|np.ndarray):
        kind = type(images).__name__
        raise InputError(f"images of type {kind} cannot be used: give an ImageSet, a tensor or a numpy array")
    x = _as_images(images)
    if x.dtype == torch.uint8: return x
    raise InputError(f"the images are {_kind(x)}: give uint8, 0…255 (`to_uint8` makes it of floats in [-1,1])")


# --- many images in one picture

def image_grid(
    images:Tensor, # (N,C,H,W) uint8
    cols:int=8, # images a row
    padding:int=2, # pixels between images and around them
    fill:int=255, # level of the padding
) -> Tensor: # (C, rows·(H+padding)+padding, cols·(W+padding)+padding) uint8
    "N images as one, row by row."
    n, c, h, w = images.shape
    rows, step_down, step_right = -(-n // cols), h + padding, w + padding
    height, width = rows * step_down + padding, cols * step_right + padding
    if c * height * width > 2**30:
        raise InputError(f"a grid of {height:,}×{width:,} pixels is too large: take fewer images, cols or less padding")
    grid = torch.full((c, height, width), fill, dtype=torch.uint8, device=images.device)
    for i, image in enumerate(images):
        row, col = divmod(i, cols)
        top, left = row * step_down + padding, col * step_right + padding
        grid[:, top:top + h, left:left + w] = image
    return grid


def cut_grid(
    grid:Tensor, # (C,H',W') uint8, made by `image_grid`
    n:int, # number of images in it
    size:int, # height and width of one image
    cols:int=8, # images a row
    padding:int=2, # pixels between images and around them
) -> Tensor: # (n,C,size,size) uint8
    "The images of a grid again: the reverse of `image_grid`."
    step = size + padding
    needed = -(-n // cols) * step + padding, min(n, cols) * step + padding
    if needed[0] > grid.shape[1] or needed[1] > grid.shape[2]:
        raise InputError(f"{n:,} images of {size}×{size} in {cols} columns do not fit into {shown(grid)}")
    corners = [((i // cols) * step + padding, (i % cols) * step + padding) for i in range(n)]
    return torch.stack([grid[:, top:top + size, left:left + size] for top, left in corners])


def new_figure(
    width:float, height:float, # in inches of 100 pixels
    rows:int=1, cols:int=1, # of axes
    **options, # for `plt.subplots`
) -> tuple: # (figure, axes)
    "A figure that is returned and shown by the notebook once, and that pyplot does not keep in its list."
    import matplotlib.pyplot as plt

    try: fig, axes = plt.subplots(rows, cols, figsize=(width, height), dpi=100, **options)
    except (AttributeError, ValueError) as e: raise InputError(f"no figure can be made so: {e}") from None
    plt.close(fig)
    return fig, axes


def show_images(
    images:Tensor|np.ndarray, # (N,C,H,W), or one image (C,H,W); uint8, or float in [-1,1]
    cols:int=8, # images a row
    title:str|None=None, # above the grid
    scale:float=2, # screen pixels per image pixel: a whole number, otherwise a lattice lies over the images
    padding:int=2, # pixels between images
): # matplotlib Figure
    "Images as one figure, pixel by pixel, without smoothing."
    images = as_bytes(images if images.ndim != 3 else images[None]).cpu()
    grid = image_grid(images, min(cols, len(images)), padding).permute(1, 2, 0)  # (H',W',C)
    height, width = grid.shape[:2]
    if scale * max(height, width) >= 2**16:
        raise InputError(f"a figure of {height:,}×{width:,} pixels times {scale:g} is too large: choose a smaller one")
    fig, ax = new_figure(width * scale / 100, height * scale / 100)
    ax.set_position([0, 0, 1, 1])
    ax.imshow(grid.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.axis("off")
    if title: ax.set_title(title, fontsize=10)
    return fig


guard(__name__, {
    "to_float.images": "… uint8", "to_uint8.x": "… float finite",
    "ImageSet.images": "N C H W", "ImageSet.labels": "N int", "ImageSet.masks": "N H W bool",
    "ImageSet.boxes": "N 4", "ImageSet.sample.n": "1..",
    "image_grid.images": "N C H W uint8", "cut_grid.grid": "C H W uint8", "cut_grid.n": "1..", "size": "1..",
    "cols": "1..", "padding": "0..", "fill": "0..255", "scale": ".01..",
    "width": ".01..600", "height": ".01..600", "rows": "1..30", "new_figure.cols": "1..30",
})
