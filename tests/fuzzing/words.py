"""Commands with one or two hostile words: an exit status of 0, 1 or 2, one line for the latter, never a traceback."""
import contextlib
import io
import os
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

from gan_course import cli

from . import LETTERS, Outcome, hostile, in_package
from .things import Things

TRAIN = ["--data", "toy-birds", "--limit", "16", "--base-channels", "2", "--latent-dim", "4", "--epochs", "1",
         "--batch-size", "8", "--samples", "4", "--precision", "float32"]
COMMANDS: dict[str, Callable[[Things], list[str]]] = {  # valid ones
    "train": lambda t: ["train", *TRAIN, "--out", "new"],
    "train --resume": lambda t: ["train", "--resume", str(t.run_folder), "--epochs", "2"],
    "sample": lambda t: ["sample", str(t.run_folder), "--n", "4", "--out", "a.png"],
    "evaluate": lambda t: ["evaluate", str(t.run_folder), str(t.folder), "--n-fake", "4", "--extractor", "small",
                           "--json", "e.json", "--k", "1"],
    "diagnose": lambda t: ["diagnose", str(t.run_folder), "--json", "d.json"],
    "explain": lambda t: ["explain", str(t.run_folder), "--limit", "4", "--rows", "2", "--out", "e.png"],
    "export": lambda t: ["export", str(t.run_folder), "--no-onnx", "--out", "g"],
    "runs": lambda t: ["runs", str(t.place)],
    "doctor": lambda t: ["doctor"],
}
WORDS = [
    "", "\x20", "x", "-1", "0", "1", "2", "1.5", "nan", "inf", "1e400", "9" * 400, "None", "True", "best", "last",
    "a,b", "color,cutout", "~", "~nobody/x", "..", ".", "/", "/dev/full", "a\x1b[31mb", "a\nb", "\udcff", "ä☃", "-",
    "--", "--no-such-option", "--help", "a" * 5000, "{}", "$(x)", "gan_course:no_such", "no_such:thing", ":",
    "a:b:c", "fc", "gap", "inception", "small", "crop", "hinge", "wgan-gp", "sagan", "cub200", "cifar10",
    "toy-birds", "samples",
]


def options_of(command: str) -> list[str]:
    """The options that a command explains."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit): cli.main([command.split()[0], "--help"])
    return sorted(set(re.findall(r"--[a-z][a-z0-9-]+", text.getvalue())) - {"--help", "--no-onnx", "--no-flip"})


def word(t: Things, chance: random.Random) -> str:
    """Something to stand where a value is wanted."""
    if chance.random() < .35:
        with contextlib.suppress(TypeError): return os.fsdecode(hostile.PATHS[chance.choice(list(hostile.PATHS))](t))
    return chance.choice(WORDS)


def command(name: str, seed: str | None = None) -> Callable[[Path, Outcome, Callable], None]:
    """The valid command of this name, or one with one or two words replaced, added or left out."""
    def work(place: Path, outcome: Outcome, keep: Callable) -> None:
        t = Things(place)
        args = COMMANDS[name](t)
        if seed is not None:
            chance = random.Random(f"{seed} {name}")
            for _ in range(1 if chance.random() < .6 else 2):
                spoil(args, options_of(name), t, chance)
            outcome.hostile = {"args": ascii(args[1:])[:600]}
            keep()
        run(args, outcome)
    return work


def spoil(args: list[str], options: list[str], t: Things, chance: random.Random) -> None:
    """One word of a command becomes hostile."""
    way = chance.choice(["replace", "replace", "add", "add", "drop", "twice"])
    places = [i for i in range(1, len(args)) if not args[i].startswith("--")]
    if way == "add" and options:
        option, value = chance.choice(options), word(t, chance)
        args += [f"{option}={value}"] if chance.random() < .3 else [option, value]
    elif way == "drop" and len(args) > 1: del args[chance.randrange(1, len(args))]
    elif way == "twice" and len(args) > 1: args.append(chance.choice(args[1:]))
    elif places: args[chance.choice(places)] = word(t, chance)
    else: args.append(word(t, chance))


def told_well(lines: list[str]) -> bool:
    """One readable line."""
    return len(lines) == 1 and len(lines[0]) <= LETTERS + len("gan-course: ") and lines[0].isprintable()


def run(args: list[str], outcome: Outcome) -> None:
    """Run a command in this process, and judge it."""
    streams = [os.memfd_create("out"), os.memfd_create("err")]
    for number, stream in zip((1, 2), streams, strict=True): os.dup2(stream, number)
    status: object = 0
    try: cli.main(args)
    except SystemExit as e: status = 0 if e.code is None else e.code
    except BaseException as e: status, outcome.where = f"{type(e).__name__}: {e}", in_package(e)
    for stream in (sys.stdout, sys.stderr): stream.flush()
    error = os.pread(2, 10**6, 0).decode("utf-8", "replace")
    lines = error.splitlines()
    outcome.told = f"status {status}: {ascii(error)[:500]}"
    if status not in (0, 1, 2, 141) or "Traceback" in error: outcome.kind = "other"
    elif status == 2 and not told_well(lines): outcome.kind = "message"
    else: outcome.kind = "InputError" if status == 2 else "returned"
