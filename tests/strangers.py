"""Runs as a stranger could hand them over: spoilt in one place, then used in a process of its own, which is watched.

`python tests/strangers.py [N]` tries N of them, by default all; tests/test_strangers.py tries a few.
"""
import ast
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

MEMORY, SECONDS = 2e9, 120
MARK = 'x"""\nimport os\x1b]0;owned\x07</script><b>&$\\frac{$\ud800'
VALUES = [None, True, -1, 0, 1, 3, 2**31 - 1, 2**63, 10**30, 10**400, 1e308, -.5, 1e-300, float("nan"), float("inf"),
          "", MARK, "..", "/dev/zero", "x" * 5000, "9" * 6000, [], [[]], {}, {"a": [1]}]
TEXTS = ["", "nan", "-inf", "1e308", "-1e38", "9" * 4000, "1" + "0" * 30, "-1", "0", "x", "\x1b[2J", '"', "0x1", "²"]


def places(part, before=()) -> Iterator[tuple]:
    """The path of every key in nested dicts."""
    for key, value in part.items():
        yield (*before, key)
        if isinstance(value, dict): yield from places(value, (*before, key))


def edit(run: Path, place: tuple, value) -> None:
    """config.json with another value somewhere; without it where the value is Ellipsis."""
    info = json.loads((run / "config.json").read_text(encoding="utf-8"))
    part = info
    for key in place[:-1]: part = part[key]
    if value is ...: del part[place[-1]]
    else: part[place[-1]] = value
    (run / "config.json").write_text(json.dumps(info), encoding="utf-8")


def configs(run: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Each value at each place of config.json, and pairs that have to agree changed alike."""
    info = json.loads((run / "config.json").read_text(encoding="utf-8"))
    for place in [*places(info), ("fid",), ("packed",), ("own_networks",), ("steps",), ("fid", "n_fake")]:
        if place == ("fid", "n_fake"):
            for value in VALUES: yield f"fid {value!r:.30}", lambda p, v=value: edit(p, ("fid",), dict.fromkeys(
                ("n_fake", "n_real", "every", "extractor", "split"), v))
            continue
        for value in [..., *VALUES]:
            if value is ... and place in (("fid",), ("packed",), ("own_networks",), ("steps",)): continue
            yield f"{'.'.join(place)} = {value!r:.30}", lambda p, a=place, v=value: edit(p, a, v)
    both = {"latent_dim": ("train", "model"), "base_channels": ("train", "model"), "head": ("train", "model")}
    for value in VALUES:
        for name, parts in both.items():
            yield f"both {name} = {value!r:.30}", lambda p, n=name, ps=parts, v=value: [edit(p, (a, n), v) for a in ps]
        yield f"both sizes = {value!r:.30}", lambda p, v=value: (
            edit(p, ("model", "img_size"), v), edit(p, ("samples", "size"), v))
        yield f"both samples = {value!r:.30}", lambda p, v=value: (
            edit(p, ("train", "samples"), v), edit(p, ("samples", "n"), v))
    for text in ("", "[" * 10**5, "null", '{"format": 1}', "\ufeff{}", "{" + '"a":{' * 10**5):
        yield f"config.json = {text[:20]!r}", lambda p, t=text: (p / "config.json").write_text(t)


def files(run: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Each file missing, cut off, another, a folder, a pipe, a link; pictures, histories and tensors of other kinds."""
    import torch
    from PIL import Image
    from safetensors.torch import load_file, save_file

    names = [str(p.relative_to(run)) for p in sorted(run.rglob("*")) if p.is_file() and "events" not in p.parts]
    others = {"empty": b"", "zeros": bytes(5000), "text": MARK.encode("utf-8", "replace") * 50, "gif": b"GIF89a" * 9,
              "head": (2**62).to_bytes(8, "little") + b"{}", "png": (run / names[-1]).read_bytes()[:300]}
    for name in names:
        yield f"no {name}", lambda p, n=name: (p / n).unlink()
        for what, data in others.items(): yield f"{name}: {what}", lambda p, n=name, d=data: (p / n).write_bytes(d)
        for share in (.1, .5, .99):
            yield f"{name}: {share:.0%}", lambda p, n=name, s=share: (p / n).write_bytes(
                (p / n).read_bytes()[:int((p / n).stat().st_size * s)])
        for make in ("mkdir", "mkfifo"): yield f"{name}: {make}", lambda p, n=name, m=make: (
            (p / n).unlink(), getattr(os, m)(p / n))
        yield f"{name}: link", lambda p, n=name: ((p / n).unlink(), (p / n).symlink_to("/etc/hostname"))
    for deep in ("samples/a/b", "events/a"):
        yield f"link in {deep}", lambda p, d=deep: ((p / d).mkdir(parents=True), (p / d / "x").symlink_to("/etc"))
    picture = "samples/epoch-0001.png"
    for mode in ("L", "LA", "P", "1", "I;16", "I", "RGBA"):
        yield f"picture {mode}", lambda p, m=mode: Image.new(m, Image.open(p / picture).size).save(p / picture)
    for size in ((1, 1), (12_000, 12_000)):
        yield f"picture {size}", lambda p, s=size: Image.new("RGB", s).save(p / picture)
    names = ("epoch-" + "9" * 200, "epoch-²", "epoch--1", "epoch-١", "epoch-x", "epoch-999999999", MARK[:8] + "\x1b")
    for name in names:
        for place in (picture, "checkpoints/last.safetensors"):
            yield f"{place} called {name!r:.30}", lambda p, n=name, a=place: shutil.copy(
                p / a, (p / a).with_name(n.replace("/", "") + (p / a).suffix))
    history = (run / "history.csv").read_text()
    for i in range(len(history.splitlines()[0].split(","))):
        for text in TEXTS:
            def put(p, i=i, text=text):
                head, *rows = [line.split(",") for line in history.splitlines()]
                for row in rows: row[i] = text
                (p / "history.csv").write_text("\n".join(",".join(r) for r in (head, *rows)))
            yield f"history[{i}] = {text[:20]!r}", put
    for what, text in {"twice": history + history.partition("\n")[2], "wide": "epoch" + "," * 10**6 + "\n1\n2\n",
                       "long": "epoch\n" + "\n".join(map(str, range(1, 10**6))), "ones": "epoch\n" + "1\n" * 10**6,
                       "field": "epoch\n" + "1" * 10**6, "gap": "epoch,fid\n7,1\n"}.items():
        yield f"history {what}", lambda p, t=text: (p / "history.csv").write_text(t)

    def tensors(name, change, epoch="1"):
        def spoil(p):
            content = load_file(p / name)
            save_file(change(content) or content, p / name, {"epoch": epoch} if epoch else None)
        return spoil

    kinds = (torch.int64, torch.float64, torch.bool, torch.uint8, torch.complex64, torch.float16, torch.float8_e4m3fn)
    for kind in kinds:
        for name in ("latents.safetensors", "checkpoints/last.safetensors"):
            yield f"{name} {kind}", tensors(name, lambda t, k=kind: {n: x.to(k) for n, x in t.items()})
    for value in (float("nan"), float("inf"), 1e38, -1e38):
        for part in ("latents", "G.", "ema.", "D.", "opt_g.", "opt_d."):
            name = "latents.safetensors" if part == "latents" else "checkpoints/last.safetensors"
            yield f"{part} {value}", tensors(name, lambda t, a=part, v=value: {
                n: torch.full_like(x, v) if n.startswith(a) and x.is_floating_point() else x for n, x in t.items()})
    for ending in (".step", ".exp_avg", ".exp_avg_sq", "running_var"):
        for value in (-1., 0., 1e30, float("nan")):
            yield f"{ending} {value}", tensors("checkpoints/last.safetensors", lambda t, e=ending, v=value: {
                n: torch.full_like(x, v) if n.endswith(e) else x for n, x in t.items()})
        yield f"no {ending}", tensors("checkpoints/last.safetensors", lambda t, e=ending: {
            n: x for n, x in t.items() if not n.endswith(e)})
        yield f"{ending} is long", tensors("checkpoints/last.safetensors", lambda t, e=ending: {
            n: torch.zeros(3, 5) if n.endswith(e) else x for n, x in t.items()})
    for name in ("ema.x", "opt_g.99.step", "opt_g.x", "opt_g.0.more", "other", "", "G.", MARK.split("\ud800")[0]):
        yield f"tensor {name!r:.20}", tensors("checkpoints/last.safetensors", lambda t, n=name: t | {n: torch.zeros(9)})
    for part in ("G.", "ema.", "D.", "opt_g.", "opt_d."):
        yield f"no {part}", tensors("checkpoints/last.safetensors", lambda t, a=part: {
            n: x for n, x in t.items() if not n.startswith(a)})
    for epoch in ("", "9" * 6000, "-1", "0", "2", "999999999", "x", "²", "1.0"):
        yield f"epoch {epoch[:20]!r}", tensors("checkpoints/last.safetensors", lambda t: t, epoch)

    def hole(p):  # 20 GB that take no room on the disk
        data = (p / "checkpoints/last.safetensors").read_bytes()
        n = int.from_bytes(data[:8], "little")
        table = json.loads(data[8:8 + n])
        end = len(data) - 8 - n
        table["ema.giant"] = dict(dtype="F32", shape=[5 * 10**9], data_offsets=[end, end + 20 * 10**9])
        head = json.dumps(table).encode()
        with open(p / "checkpoints/last.safetensors", "wb") as f:
            f.write(len(head).to_bytes(8, "little") + head + data[8 + n:])
            f.truncate(8 + len(head) + len(data) - 8 - n + 20 * 10**9)
    yield "a tensor of 20 GB", hole


def uses(path: Path) -> dict[str, Callable]:
    """What one does with a run."""
    from gan_course import embed, export, gradcam, runs, steps, training
    from gan_course.cli import main
    from gan_course.runs import open_run

    def exported():
        folder = export.export_run(path, path.parent / "exported", onnx=False)
        code = ast.parse((folder / "generator.py").read_text(encoding="utf-8"))
        known = {"Expr", "Import", "ImportFrom", "FunctionDef", "ClassDef", "If"}
        kinds = {type(node).__name__ for node in code.body} - known
        names = {a.name for node in ast.walk(code) if isinstance(node, ast.Import) for a in node.names}
        assert not kinds and names <= {"json", "struct", "torch"}, f"a name became code: {kinds} {names}"

    def page():
        text = embed.epoch_browser_html(path)
        assert "<b>&" not in text and "\x1b" not in text, "a name became part of the page"

    return {
        "open": lambda: repr(open_run(path)), "history": lambda: open_run(path).history,
        "properties": lambda: (open_run(path).epochs, open_run(path).kept, open_run(path).best_epoch),
        "latents": lambda: open_run(path).latents, "samples": lambda: open_run(path).samples(),
        "generator": lambda: open_run(path).generator(), "G": lambda: open_run(path).generator("last", ema=False),
        "discriminator": lambda: open_run(path).discriminator(), "list": lambda: main(["runs", str(path.parent)]),
        "curves": lambda: steps.plot_curves(open_run(path)), "strip": lambda: steps.plot_film_strip(open_run(path)),
        "page": page, "pack": lambda: runs.pack_run(path, path.parent / "packed"), "export": exported,
        "explain": lambda: str(gradcam.explain(open_run(path), "samples")),
        "resume": lambda: training.resume(path, 2, progress=False)}


def wrong(use: Callable) -> str | None:
    """What is wrong with how a use ends: nothing, where it returns or ends in an `InputError` of one line."""
    from gan_course.guards import LETTERS, InputError

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed): result = use()
        shown = printed.getvalue() + (result if isinstance(result, str) else "")
        return "control characters" if any(not (c.isprintable() or c == "\n") for c in shown) else None
    except InputError as e:
        text = str(e)
        return None if text and text.isprintable() and len(text) <= LETTERS else f"not one line: {text[:200]!r}"
    except SystemExit as e: return None if e.code in (0, 1, 2) else f"status {e.code}"
    except BaseException as e:
        at = traceback.extract_tb(e.__traceback__)[-1]
        return f"{type(e).__name__}: {str(e)[:100]!r} in {Path(at.filename).name}:{at.lineno}"


def watched(path: Path) -> list[str]:
    """Use a run in a process of its own, with a limit of time and memory; what was wrong."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            os.chdir(path.parent)
            signal.alarm(0)
            found: list[str] = []
            for name, use in uses(path).items():
                if problem := wrong(use): found.append(f"{name}: {problem}")
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            if memory > MEMORY: found.append(f"{memory / 1e9:.1f} GB")
            os.write(writer, json.dumps(found[:20]).encode())
        finally: os._exit(0)
    os.close(writer)
    deadline = time.time() + SECONDS
    while (done := os.waitpid(child, os.WNOHANG)[0]) == 0 and time.time() < deadline: time.sleep(.01)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    data = os.read(reader, 70_000) if done else b'["still at work after two minutes"]'
    os.close(reader)
    return json.loads(data or b'["the process died"]')


def good_run(folder: Path) -> Path:
    """A run of a second, with an epoch of its own and a protocol."""
    from gan_course.settings import TrainConfig
    from gan_course.training import train

    config = TrainConfig(data="toy-birds", limit=32, base_channels=4, batch_size=16, epochs=1, samples=4, latent_dim=8,
                         precision="float32")
    return train(config, folder / "run", progress=False).path


def tried(place: Path, run: Path, n: int | None = None, seed: int = 0) -> Iterator[tuple[str, list[str]]]:
    """n spoilt runs, or all: what was spoilt, and what was wrong. The first one is not spoilt at all."""
    ways = [*configs(run), *files(run)]
    uses(run)  # everything is imported before it is forked
    if n is not None: ways = random.Random(seed).sample(ways, n)
    for name, spoil in [("nothing", lambda p: None), *ways]:
        copy = Path(shutil.copytree(run, place / "spoilt/run"))
        spoil(copy)
        yield name, watched(copy)
        shutil.rmtree(place / "spoilt")


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    n, bad = (int(sys.argv[1]) if len(sys.argv) > 1 else None), 0
    with tempfile.TemporaryDirectory() as here:
        os.environ["GAN_COURSE_DATA"] = f"{here}/data"
        for name, found in tried(Path(here), good_run(Path(here)), n):
            if found: print("\n    ".join([name, *found]), flush=True)
            bad += bool(found)
    print(f"{bad} wrong")
    sys.exit(bool(bad))
