"""What surrounds a command: arguments, a terminal or a pipe, a cluster's environment. Nothing here needs torch."""
from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import os
import re
import stat
import sys
from pathlib import Path
from typing import NoReturn

MAY_BE_EMPTY = {"--augment"}


def refuse(message: str) -> NoReturn:
    """An `InputError`; torch comes with it and is not imported before."""
    from gan_course.core import InputError

    raise InputError(message)


# ---- arguments


def understood(args: list[str]) -> list[str]:
    """The arguments with `~` as the home folder, wherever it stands; an `InputError` for one that is empty."""
    for before, arg in zip(["", *args], args, strict=False):
        option = before if not arg else arg[:-1] if re.fullmatch(r"--[\w-]+=", arg) else None
        if option is None or option in MAY_BE_EMPTY: continue
        refuse(f"{option if option.startswith('--') else 'an argument'} is empty: "
               "give a value or leave it out; was a variable of the shell not set?")
    for arg in args:
        try: text = os.fsencode(arg)
        except UnicodeError: text = b"\0"
        if b"\0" in text: refuse(f"{arg!a} is no text that a shell can give")
    return [at_home(arg) for arg in args]


def at_home(arg: str) -> str:
    """~/x and --option=~/x with the folder that `~` means; shells do the first alone."""
    found = re.fullmatch(r"(--[\w-]+=)?(~.*)", arg, re.DOTALL)
    if not found: return arg
    path = os.path.expanduser(found[2])
    if path.startswith("~"): refuse(f"{path}: there is no user of that name; write ./{path} if it is a name here")
    return (found[1] or "") + path


def options(kind, command: str, args: list[str], **more):
    """The options of a command; what is wrong with them in one line, without the box that tyro draws around it."""
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            chosen, unknown = tyro.cli(kind, prog=f"gan-course {command}", args=args, return_unknown_args=True, **more)
        if not unknown: return chosen
        refuse(f"{unlike(kind, unknown[0].partition('=')[0])} see gan-course {command} --help")
    except SystemExit as e:
        if e.code in (0, None): raise
    told = re.split("Argument helptext|For full helptext", said.getvalue())[0]
    lines = [line.strip(" │╭╮╰╯─-") for line in told.split("\n")]
    title, *rest = [line for line in lines if line] or ["the options cannot be read"]
    refuse(f"{title}: {' '.join(rest)}; see gan-course {command} --help")


def unlike(kind, word: str) -> str:
    """That there is no such option, and which one may have been meant."""
    if not word.startswith("-"): return f"there is no place for '{word}';"
    known = [f"--{f.name.replace('_', '-')}" for f in dataclasses.fields(kind) if "Positional" not in str(f.type)]
    near = difflib.get_close_matches(word, known, 1, .7)
    return f"there is no option {word}{f': did you mean {near[0]}?' if near else ';'}"


def as_weights(text: str | None) -> str | int | None:
    """An epoch as a number; "best", "last" and None as they are."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else text


def file_to_write(path: Path, option: str = "--out") -> Path:
    """The file that is meant, seen before anything is computed: a link is followed, a device or a pipe is refused."""
    try: known = os.stat(path)  # what /dev/stdout leads to has no path of its own: asked before links are followed
    except FileNotFoundError: known = None
    if known:
        what = "a folder" if stat.S_ISDIR(known.st_mode) else "a device or a pipe"
        if not stat.S_ISREG(known.st_mode): refuse(f"{option} is {path}, {what}: give the name of a file")
        for number in (1, 2):
            try: printed = os.path.samestat(known, os.fstat(number))
            except OSError: continue  # closed
            if printed: refuse(f"{option} is {path}, where what is printed goes already: give another file")
    folder = Path(os.path.realpath(path)).parent
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        refuse(f"{option} is {path}, but nothing can be written in {folder}: choose another place")
    return path


# ---- what is printed


def say(text) -> None:
    """Print lines for people."""
    from gan_course.guards import printable

    print("\n".join(map(printable, str(text).split("\n"))))


def fail(message: str, everywhere: bool = True) -> None:
    """Say what is wrong in one line and end with status 2; in a training of several processes one of them says it."""
    from gan_course.guards import in_one_line
    from gan_course.processes import is_first

    if everywhere or is_first(): print(f"gan-course: {in_one_line(message)}", file=sys.stderr)
    sys.exit(2)


def print_anything() -> None:
    """What an encoding (cp1252, ascii …) does not know is printed as "?" and not raised."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def discard_output() -> None:
    """From now on nothing is printed: whoever read it is gone, or its disk is full."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        number, nowhere = sys.stdout.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def flush() -> None:
    """What is printed arrives now: an error of standard output is met here and not when Python ends."""
    if sys.stdout is not None: sys.stdout.flush()


@contextlib.contextmanager
def silence():
    """Nothing of what is printed is seen."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
