"""What takes the place of an argument: things of other kinds, and the right thing with one thing wrong."""
import dataclasses
import math
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .things import Things, noise

Made = tuple[str, Any]  # what a report calls it, and the value itself


def fifo(t: Things) -> Path:
    file = t.fresh("pipe.png")
    if not file.exists(): os.mkfifo(file)
    return file


def written(name: str, content: bytes) -> Callable[[Things], Path]:
    def write(t: Things) -> Path:
        t.fresh(name).write_bytes(content)
        return t.fresh(name)
    return write


def loop(t: Things) -> Path:
    if not t.fresh("loop").is_symlink(): t.fresh("loop").symlink_to(t.fresh("loop"))
    return t.fresh("loop")


def device(t: Things) -> Path:
    """A device of its own, so that the real one is safe; where none can be made, the real one for reading."""
    file = t.fresh("null.png")
    try: os.mknod(file, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError: return Path("/dev/null")
    return file


def empty_folder(t: Things) -> Path:
    t.fresh("empty").mkdir(exist_ok=True)
    return t.fresh("empty")


PATHS: dict[str, Callable[[Things], Any]] = {
    "a missing path": lambda t: t.place/"no"/"such",
    "a folder": empty_folder,
    "a folder of images": lambda t: t.folder,
    "a run folder": lambda t: t.run_folder,
    "a text file": lambda t: t.table,
    "a FIFO": fifo,
    "a device": device,
    "a link to itself": loop,
    "garbage.png": written("garbage.png", b"\x89PNG\r\n\x1a\n" + bytes(range(200))),
    "an empty file": written("empty.safetensors", b""),
    "an EPS called .jpg": written("eps.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n"),
    "a huge header": written("huge.safetensors", (10**12).to_bytes(8, "little") + b"{}"),
    "a garbled table": written("a.npz", b"PK\x03\x04" + b"\0" * 60),
    "a long name": lambda t: t.place/("n" * 300),
    "a NUL in a name": lambda t: Path("a\0b"),
    "not UTF-8": lambda t: Path(os.fsdecode(b"\xff\xfe")),
    "a name below a file": lambda t: t.table/"x",
    "~nobody-of-this-name": lambda t: "~nobody-of-this-name/x",
}
THINGS: dict[str, Callable[[Things], Any]] = {
    "None": lambda t: None, "True": lambda t: True, "-1": lambda t: -1, "0": lambda t: 0, "1": lambda t: 1,
    "0.5": lambda t: .5, "1e308": lambda t: 1e308, "nan": lambda t: math.nan, "inf": lambda t: math.inf,
    "-inf": lambda t: -math.inf, "2**63": lambda t: 2**63, "-2**63-1": lambda t: -2**63 - 1,
    "10**12": lambda t: 10**12, "10**400": lambda t: 10**400, "1j": lambda t: 1j,
    "np.int64(2)": lambda t: np.int64(2), "np.float32(nan)": lambda t: np.float32("nan"),
    "''": lambda t: "", "'x'": lambda t: "x", "a lone surrogate": lambda t: "\ud800",
    "control characters": lambda t: "a\x1b[31m\nb", "a long text": lambda t: "a" * 100_000, "b''": lambda t: b"",
    "'a:b'": lambda t: "a:b", "'../../x'": lambda t: "../../x", "'{0}'": lambda t: "{0}",
    "[]": lambda t: [], "{}": lambda t: {}, "()": lambda t: (), "[None]": lambda t: [None], "{1: 2}": lambda t: {1: 2},
    "[nan]": lambda t: [math.nan], "a nested list": lambda t: [[1, [2]], 3], "object()": lambda t: object(),
    "a set": lambda t: {1, 2}, "a lambda": lambda t: lambda *args, **kwargs: None, "a class": lambda t: nn.ReLU,
    "a raising function": lambda t: raising, "range(3)": lambda t: range(3), "slice": lambda t: slice(0, 10**9, -1),
    "a generator of numbers": lambda t: (i for i in range(3)), "an array of text": lambda t: np.array(["a", "b"]),
    "an array of objects": lambda t: np.array([object(), None]), "an array of numbers": lambda t: np.arange(4.),
    "an empty array": lambda t: np.zeros((0, 3)), "a masked array": lambda t: np.ma.array([1, 2], mask=[0, 1]),
    "an image set": lambda t: t.birds, "a run": lambda t: t.run, "a network": lambda t: t.G,
    "a discriminator": lambda t: t.D, "an identity": lambda t: nn.Identity(), "a seed": lambda t: t.chance,
    "statistics": lambda t: t.stats(), "a tensor of text length 0": lambda t: torch.zeros(0),
    "a scalar tensor": lambda t: torch.tensor(3.), "a vector": lambda t: noise(3), "a matrix": lambda t: noise(2, 3),
    "a cube": lambda t: noise(2, 3, 4), "images": lambda t: t.x, "float images": lambda t: t.floats,
    "five dimensions": lambda t: noise(1, 2, 3, 4, 5), "whole numbers": lambda t: torch.arange(4),
    "negative numbers": lambda t: -torch.ones(4, dtype=torch.int64), "truth": lambda t: torch.ones(4) > 0,
    "complex numbers": lambda t: torch.ones(4) * 1j, "a meta tensor": lambda t: torch.ones(4, 3, 8, 8, device="meta"),
    "a sparse tensor": lambda t: torch.eye(4).to_sparse(), "NaN everywhere": lambda t: torch.full((4, 4), math.nan),
}


def raising(*args, **kwargs):
    raise TypeError("a function that does not work")


WRONG_TENSORS: dict[str, Callable[[Tensor], Any]] = {
    "with NaN": lambda x: spoilt(x, math.nan), "with inf": lambda x: spoilt(x, math.inf),
    "with -inf": lambda x: spoilt(x, -math.inf), "times 1e30": lambda x: x * 1e30, "times -1": lambda x: x * -1,
    "as int64": lambda x: x.long(), "as float64": lambda x: x.double(), "as float16": lambda x: x.half(),
    "as bool": lambda x: x.bool(), "as uint8": lambda x: x.to(torch.uint8), "as complex": lambda x: x * 1j,
    "as float": lambda x: x.float(), "as a list": lambda x: x.tolist(), "as an array": lambda x: x.detach().numpy(),
    "none of it": lambda x: x[:0], "one of it": lambda x: x[:1], "twice": lambda x: torch.cat([x, x]),
    "one row less": lambda x: x[:-1], "one dimension more": lambda x: x[None], "one dimension more at the end":
    lambda x: x[..., None], "one dimension less": lambda x: x[0], "transposed": lambda x: x.transpose(0, -1),
    "one column less": lambda x: x[..., :-1], "no column": lambda x: x[..., :0], "flat": lambda x: x.flatten(),
    "zeros": torch.zeros_like, "ones": torch.ones_like, "the same everywhere": lambda x: x.flatten()[0].expand(x.shape),
    "on meta": lambda x: x.to("meta"), "sparse": lambda x: x.to_sparse(), "with a gradient": lambda x: wanting(x),
    "not contiguous": lambda x: torch.stack([x, x], -1)[..., 0], "flipped": lambda x: x.flip(0),
    "quantised": lambda x: torch.quantize_per_tensor(x.float(), .1, 0, torch.quint8),
    "in inference mode": lambda x: inferred(x),
}


def spoilt(x: Tensor, value: float) -> Tensor:
    x = x.detach().clone().double() if not x.is_floating_point() else x.detach().clone()
    if x.numel(): x.view(-1)[x.numel() // 2] = value
    return x


def wanting(x: Tensor) -> Tensor: return x.detach().clone().requires_grad_() if x.is_floating_point() else x.clone()


def inferred(x: Tensor) -> Tensor:
    with torch.inference_mode(): return x + 0


def broken_network(network: nn.Module) -> Tensor:
    for parameter in network.parameters(): parameter.data.fill_(math.nan)
    return network


def near(valid: Any, t: Things, chance: random.Random) -> Made | None:
    """The right thing with one thing wrong; None where nothing is known for its kind."""
    if isinstance(valid, Tensor | np.ndarray):
        name = chance.choice(list(WRONG_TENSORS))
        value = WRONG_TENSORS[name](torch.as_tensor(valid))
        array = isinstance(valid, np.ndarray) and isinstance(value, Tensor) and value.device.type == "cpu"
        return f"the right one {name}", value.detach().resolve_conj().numpy() if array and not value.is_sparse \
            and not value.is_quantized else value
    if isinstance(valid, bool): return None
    if isinstance(valid, int | float):
        values = [-valid, valid + .5, valid * 1000, str(valid), np.float64(valid), torch.tensor(valid), [valid],
                  10**6, 3, 2, 1 - valid, -1e-9, 7.0, bool(valid), complex(valid)]
        value = chance.choice(values)
        return f"{value!r:.40}", value
    if isinstance(valid, str):
        value = chance.choice([valid.upper(), valid + " ", valid[:-1], valid.encode(), [valid], valid + "\n",
                               Path(valid), valid * 40, f"{valid},{valid}", "-" + valid])
        return f"{value!a:.60}", value
    if isinstance(valid, Path):
        name = chance.choice(list(PATHS))
        value = PATHS[name](t)
        kind = chance.choice([lambda p: p, str, lambda p: os.fsencode(p)] if isinstance(value, Path) else [str])
        return name, kind(value)
    if isinstance(valid, list | tuple) and valid:
        other = THINGS[chance.choice(list(THINGS))](t)
        inner = near(valid[0], t, chance) or ("", None)
        values = {"with something else in it": [*valid, other], "with one wrong item": [inner[1], *valid[1:]],
                  "one item less": valid[:-1], "twice": [*valid, *valid], "as an iterator": iter(valid),
                  "its first": valid[0], "all alike": [valid[0]] * len(valid), "backwards": valid[::-1],
                  "nested": [valid]}
        name = chance.choice(list(values))
        return f"the right one {name}{f' ({inner[0]})' if 'wrong' in name else ''}", type(valid)(values[name]) \
            if isinstance(values[name], list) else values[name]
    if isinstance(valid, dict) and valid:
        key = chance.choice(list(valid))
        inner = near(valid[key], t, chance) or ("None", None)
        name = chance.choice(["without", "more", "wrong", "empty"])
        value = {"without": {k: v for k, v in valid.items() if k != key}, "more": valid | {"more": 1, 3: None},
                 "wrong": valid | {key: inner[1]}, "empty": {}}[name]
        return f"the right one, {name} {key} {inner[0] if name == 'wrong' else ''}", value
    if isinstance(valid, nn.Module) and any(True for _ in valid.parameters()):
        name = chance.choice(["of NaN", "in double", "in train mode", "empty", "its type", "on meta"])
        value = {"of NaN": broken_network, "in double": nn.Module.double, "in train mode": nn.Module.train,
                 "empty": lambda n: nn.Sequential(), "its type": type, "on meta": lambda n: n.to("meta")}[name](valid)
        return f"a network {name}", value
    if dataclasses.is_dataclass(valid) and not isinstance(valid, type):
        field = chance.choice(dataclasses.fields(valid)).name
        inner = near(getattr(valid, field), t, chance) or ("None", None)
        if type(valid).__dataclass_params__.frozen: valid = dataclasses.replace(valid, **{field: inner[1]})
        else: setattr(valid, field, inner[1])
        return f"the right one with .{field}={inner[0]}", valid
    return None


def instead(valid: Any, t: Things, chance: random.Random) -> Made:
    """Something for the place of a valid argument."""
    if chance.random() < .6:
        try: made = near(valid, t, chance)
        except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError): made = None  # no such tensor
        if made: return made
    pool = PATHS if chance.random() < .15 else THINGS
    name = chance.choice(list(pool))
    return name, pool[name](t)
