"""Images, seeds, grids and good error messages: the small pieces that all of the course stands on."""
import difflib
import math
import sys
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .guards import InputError, guard

__all__ = [
    "InputError", "choose", "progress_bar", "to_float", "to_uint8", "seeded", "ImageSet",
    "image_grid", "cut_grid", "new_figure", "show_images",
]


# --- messages that help

def choose(
    name:str, # what was asked for
    options, # the names there are
    what:str, # what they name: "loss", "model", …
) -> str: # the name, if there is such a one
    "`name` if it is one of `options`; otherwise an `InputError` that names the nearest one."
    options = list(options)
    if name in options: return name
    near = difflib.get_close_matches(str(name), options, 1, .4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise InputError(f"there is no {what} '{name}': {hint}there are {', '.join(options)}")


# --- bars

def progress_bar(
    items=None, # what is gone through; None: the bar is moved by hand
    what:str="", # is done with them
    show:bool=True,
    **how, # total, initial, unit, … of tqdm
): # tqdm
    "A bar where somebody sees it move, in a terminal or a notebook: a file would keep every state of it."
    from tqdm import auto, notebook

    seen = issubclass(auto.tqdm, notebook.tqdm_notebook) or (sys.stderr is not None and sys.stderr.isatty())
    return auto.tqdm(items, desc=what, disable=not (show and seen), **how)


# --- the range of an image, and chance

def to_float(
    images:Tensor, # (…) uint8, 0…255
) -> Tensor: # (…) float32 in [-1,1]
    "Pixels as the networks see them."
    return images.float() / 127.5 - 1


def to_uint8(
    x:Tensor, # (…) float, meant to lie in [-1,1]; what lies outside is clamped
) -> Tensor: # (…) uint8, 0…255
    "Pixels as files hold them: clamp, then round; never stretched from minimum to maximum."
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


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
        return replace(self, **{k: rows[index] for k, rows in known.items() if rows is not None})

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
    shape, dtype = tuple(images.shape), str(images.dtype).removeprefix("torch.")
    if dtype != "uint8":
        raise InputError(f"the images are {dtype}: give uint8, 0…255 (`to_uint8` makes it of floats in [-1,1])")
    if len(shape) != 4 or 0 in shape:
        raise InputError(f"the images have the shape {shape}: give (N,C,H,W), at least one image")
    if shape[1] not in (1, 3) and shape[3] in (1, 3):
        raise InputError(f"the images have the shape {shape}, channels last: give (N,C,H,W), by permute(0, 3, 1, 2)")
    if isinstance(images, Tensor): return images
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))


# --- many images in one picture

def image_grid(
    images:Tensor, # (N,C,H,W) uint8
    cols:int=8, # images a row
    padding:int=2, # pixels between images and around them
    fill:int=255, # level of the padding
) -> Tensor: # (C, rows·(H+padding)+padding, cols·(W+padding)+padding) uint8
    "N images as one, row by row."
    n, c, h, w = images.shape
    rows, step_down, step_right = math.ceil(n / cols), h + padding, w + padding
    grid = torch.full((c, rows * step_down + padding, cols * step_right + padding), fill, dtype=torch.uint8)
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
    corners = [((i // cols) * step + padding, (i % cols) * step + padding) for i in range(n)]
    return torch.stack([grid[:, top:top + size, left:left + size] for top, left in corners])


def new_figure(
    width:float, height:float, # in inches of 100 pixels
    rows:int=1, cols:int=1, # of axes
    **options, # for `plt.subplots`
) -> tuple: # (figure, axes)
    "A figure that is returned and shown by the notebook once, and that pyplot does not keep in its list."
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(rows, cols, figsize=(width, height), dpi=100, **options)
    plt.close(fig)
    return fig, axes


def show_images(
    images:Tensor, # (N,C,H,W) uint8, or float in [-1,1]
    cols:int=8, # images a row
    title:str|None=None, # above the grid
    scale:float=2, # screen pixels per image pixel: a whole number, otherwise a lattice lies over the images
    padding:int=2, # pixels between images
): # matplotlib Figure
    "Images as one figure, pixel by pixel, without smoothing."
    images = images.cpu() if images.dtype == torch.uint8 else to_uint8(images.detach().cpu())
    grid = image_grid(images, min(cols, len(images)), padding).permute(1, 2, 0)  # (H',W',C)
    height, width = grid.shape[:2]
    fig, ax = new_figure(width * scale / 100, height * scale / 100)
    ax.set_position([0, 0, 1, 1])
    ax.imshow(grid.squeeze(-1), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.axis("off")
    if title: ax.set_title(title, fontsize=10)
    return fig


guard(__name__)
