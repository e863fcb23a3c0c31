"""A generator that leaves the course: weights, a page of code that needs torch only, and ONNX for everything else."""
from __future__ import annotations

import inspect
import json
import os
import struct
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

import gan_course

from .core import InputError, seeded
from .dcgan import Generator
from .guards import guard
from .labels import ConditionalBatchNorm2d, ConditionalGenerator
from .networks import latent_dim_of
from .runfiles import as_folder
from .runs import Run, open_run
from .sagan import SelfAttention2d, SNGenerator
from .storage import atomic_write, write_json, writing

__all__ = ["PlainAttention2d", "plain_attention", "plain_layers", "code_of", "write_code", "write_onnx", "export_run"]

# ---- what stands in the exported file as it stands here, so it uses nothing of this package


class PlainAttention2d(nn.Module):
    "The block of Zhang et al. 2019 as their code has it: keys and values are pooled; gamma stands in `out` already."
    def __init__(self, channels: int):
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.out = nn.Conv2d(channels // 2, channels, 1, bias=False)

    def forward(self, x):  # (B,C,H,W)
        def rows(t): return t.flatten(2).transpose(1, 2)  # (B,c,h,w) → (B,h·w,c)
        q, k, v = rows(self.query(x)), rows(F.max_pool2d(self.key(x), 2)), rows(F.max_pool2d(self.value(x), 2))
        o = (q @ k.transpose(1, 2)).softmax(-1) @ v  # (B,HW,C/2)
        return x + self.out(o.transpose(1, 2).unflatten(2, x.shape[2:]))


class ClassNorm(nn.Module):
    "Batch norm with a gain and a shift for each class, as it is once trained: a scale and an offset for each class."
    def __init__(self, num_classes, channels):
        super().__init__()
        self.scale, self.offset = nn.Embedding(num_classes, channels), nn.Embedding(num_classes, channels)

    def forward(self, x, labels):  # (B,C,H,W), (B,)
        return self.scale(labels)[:, :, None, None] * x + self.offset(labels)[:, :, None, None]


class WithClasses(nn.Sequential):
    "Layers one after the other; those that differ by class are told the class."
    def forward(self, x, labels):
        for layer in self: x = layer(x, labels) if isinstance(layer, ClassNorm) else layer(x)
        return x


def read_weights(file):
    "The tensors of a safetensors file: a length, a table in JSON, then the numbers."
    data = Path(file).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table, kinds = json.loads(data[8:8 + length]), {"F32": torch.float32, "I64": torch.int64}
    tensors = {}
    for name, about in table.items():
        if name == "__metadata__": continue
        start, end = (8 + length + at for at in about["data_offsets"])
        flat = torch.frombuffer(bytearray(data[start:end]), dtype=kinds[about["dtype"]])
        tensors[name] = flat.reshape(about["shape"])
    return tensors


CODE = '''"""{about}

    from generator import load_generator
    images = load_generator()(torch.randn(16, {latent_dim}){labels})  # (16, {channels}, {size}, {size}) in [-1, 1]

Needs torch only; generator.safetensors has to lie beside this file. Written by gan_course {version}.
"""
import json
import struct
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

{functions}


def make_generator():
    "z, {latent_dim} numbers from N(0,1) for each image, to images; without weights."
    return {row}(
        nn.Unflatten(1, ({latent_dim}, 1, 1)),
        {layers},
    )


def load_generator(file=Path(__file__).with_name("generator.safetensors")):
    "The generator with its weights, in eval mode."
    G = make_generator()
    G.load_state_dict(read_weights(file))
    return G.eval()


if __name__ == "__main__":
    print(load_generator()(torch.randn(16, {latent_dim}){labels}).shape)
'''

# ---- how it is made


def plain_attention(
    block: SelfAttention2d,  # without spectral norm, see `plain_layers`
) -> PlainAttention2d:
    "The same block with γ multiplied into its last weights."
    if block.gamma.is_meta: raise InputError("this block has no weights: it was built on the device meta")
    plain = PlainAttention2d(block.query.in_channels)
    plain.load_state_dict({f"{name}.weight": getattr(block, name).weight for name in ("query", "key", "value", "out")})
    with torch.no_grad(): plain.out.weight.mul_(block.gamma)
    return plain


@torch.no_grad()
def plain_norm(
    norm: ConditionalBatchNorm2d,
) -> ClassNorm:
    "The same in eval mode, its running statistics multiplied into the tables."
    known, plain = norm.normalise, ClassNorm(*norm.gain.weight.shape)
    assert known.running_mean is not None and known.running_var is not None  # for the type checker
    deviation = (known.running_var + known.eps).sqrt()
    plain.scale.weight.copy_(norm.gain.weight / deviation)
    plain.offset.weight.copy_(norm.shift.weight - norm.gain.weight * known.running_mean / deviation)
    return plain


def plain_layers(
    G: Generator | SNGenerator | ConditionalGenerator,  # in eval mode; changed: spectral norm goes, its weights stay
) -> nn.Sequential:  # (B,latent_dim) → (B,C,H,W); of a conditional one also (B,) int64, the classes
    "A generator of the course as a row of PyTorch's own layers."
    for layer in list(G.modules()):
        if parametrize.is_parametrized(layer, "weight"): parametrize.remove_parametrizations(layer, "weight")
    plain = {SelfAttention2d: plain_attention, ConditionalBatchNorm2d: plain_norm}
    layers = [plain.get(type(layer), lambda same: same)(layer) for layer in G.layers]
    row = WithClasses if isinstance(G, ConditionalGenerator) else nn.Sequential
    return row(nn.Unflatten(1, (G.latent_dim, 1, 1)), *layers).eval()


def code_of(
    layer: nn.Module,  # of `plain_layers`
) -> str:
    "The call that makes this layer."
    if isinstance(layer, nn.ConvTranspose2d):
        bias = "" if layer.bias is not None else ", bias=False"
        sides = f"{layer.kernel_size[0]}, {layer.stride[0]}, {layer.padding[0]}"
        return f"nn.ConvTranspose2d({layer.in_channels}, {layer.out_channels}, {sides}{bias})"
    if isinstance(layer, ClassNorm): return f"ClassNorm({layer.scale.num_embeddings}, {layer.scale.embedding_dim})"
    if isinstance(layer, nn.BatchNorm2d): return f"nn.BatchNorm2d({layer.num_features})"
    if isinstance(layer, PlainAttention2d): return f"PlainAttention2d({layer.query.in_channels})"
    return f"nn.{type(layer).__name__}()"  # ReLU, Tanh


def _harmless(text: str) -> str:
    "A text that stays one between quotation marks."
    return "".join(c if c.isprintable() and c not in "\"\\" else "?" for c in text)


def write_code(
    G: Generator | SNGenerator | ConditionalGenerator,  # whose layers these are
    layers: nn.Sequential,  # of `plain_layers`
    file: Path,
    about: str,  # a sentence for its head; it may quote a stranger's names, which have to stay text there
) -> None:
    "The page of code that makes these layers and reads their weights."
    about = _harmless(about)
    calls = [code_of(layer) for layer in list(layers)[1:]]
    with_classes = isinstance(layers, WithClasses)
    functions = [PlainAttention2d] * any("PlainAttention2d" in call for call in calls)
    functions += [ClassNorm, WithClasses] * with_classes + [read_weights]
    code = CODE.format(about=about, latent_dim=G.latent_dim, channels=G.img_channels, size=G.img_size,
                       row="WithClasses" if with_classes else "nn.Sequential",
                       labels=f", torch.arange(16) % {G.num_classes}" if with_classes else "",
                       version=gan_course.__version__, layers=",\n        ".join(calls),
                       functions="\n\n".join(f"\n{inspect.getsource(f).rstrip()}" for f in functions))
    if PlainAttention2d not in functions: code = code.replace("from torch.nn import functional as F\n", "")
    with atomic_write(file) as part: part.write_text(code, encoding="utf-8")


def write_onnx(
    network: nn.Module,  # z → images
    z: Tensor,  # (4,latent_dim) or whatever the network takes
    file: Path,
    labels: Tensor | None = None,  # (4,) int64 of a conditional network: its second input
) -> None:
    "The network as ONNX, whose images are compared with torch's before the file stands."
    try:
        import onnx  # noqa: F401 - torch's exporter needs it and does not say so
        import onnxruntime
    except ImportError as e:
        raise InputError(f"ONNX needs {e.name}: pip install 'gan-course[export]', or leave it out "
                         "(--no-onnx; in Python onnx=False)") from None
    with atomic_write(file) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its exporters
        inputs = {"z": z} | ({} if labels is None else {"labels": labels})
        torch.onnx.export(network, tuple(inputs.values()), str(part), input_names=list(inputs),
                          output_names=["images"], dynamo=False,
                          dynamic_axes=dict.fromkeys([*inputs, "images"], {0: "batch"}))
        session = onnxruntime.InferenceSession(str(part), providers=["CPUExecutionProvider"])
        some = {name: x[:3] for name, x in inputs.items()}  # another number of images than it was traced with
        with torch.no_grad(): wanted = network(*some.values())
        got = torch.as_tensor(session.run(None, {name: x.numpy() for name, x in some.items()})[0])
        if got.shape != wanted.shape or not (got - wanted).abs().max() < 1e-4:
            raise InputError(f"onnxruntime makes other images than torch, so {file} is not written: leave ONNX out")


def export_run(
    what: Run | str | Path,  # a run, its folder or a ready run's name; one of your own networks opened with them
    out: str | Path,  # the folder to make
    weights: str | int | None = None,  # "best", "last" or an epoch; by default the best, if known
    onnx: bool = True,  # generator.onnx as well: needs the extra [export]
) -> Path:  # the folder
    "The averaged generator of a run as a plain folder: generator.safetensors, .py (of the course's models) and .onnx."
    run, out = open_run(what), as_folder(out)
    with writing(out):
        if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} is there already: choose another folder, nothing is overwritten")
    network = G = run.generator(weights)
    z = torch.randn(4, latent_dim_of(G), generator=seeded(0))
    data, epoch = run.info["data"]["name"], run.epoch_of(weights)
    about = f"The generator of {run.path.name[:200]}: {run.config.model[:200]} on {data[:200]}, epoch {epoch}."
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        if type(G) is Generator or type(G) is SNGenerator or type(G) is ConditionalGenerator:
            network = plain_layers(G)
            write_code(G, network, out/"generator.py", about)
        tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        with atomic_write(out/"generator.safetensors") as part: save_file(tensors, part, {"about": _harmless(about)})
        labels = torch.arange(len(z)) % len(run.classes) if run.classes else None
        if onnx: write_onnx(network, z, out/"generator.onnx", labels)
        if run.classes: write_json(out/"classes.json", dict(classes=run.classes))
    return out


guard(__name__, {"channels": "8..65536"})
