"""What public functions take: kinds by their annotations, shapes and ranges said once a module, refused in one line."""
import collections.abc
import contextlib
import errno
import functools
import inspect
import itertools
import math
import numbers
import os
import re
import sys
import traceback
import types
import typing
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["InputError", "guard", "warn"]

KINDS = {"float": "floating_point", "uint8": "uint8", "int": "int64", "bool": "bool"}  # of the values of a tensor
RANGE = re.compile(r"(-?[\d_.]+(?:e-?\d+)?)?\.\.(-?[\d_.]+(?:e-?\d+)?)?")
SCALARS = {int: numbers.Integral, float: numbers.Real}
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", dict: "a dict", Path: "a path",
         Tensor: "a tensor", np.ndarray: "an array", nn.Module: "a network", collections.abc.Callable: "a function"}
LETTERS = 600  # of a message: one line that can be read
MARK = "_guarded"


class InputError(ValueError):
    "Something given by the user cannot be used; the message says what was given, what is wanted and what to do."
    def __init__(self, message: object = ""):
        super().__init__(in_one_line(message))


def printable(text: str) -> str:
    "Without control characters, which names in a stranger's run may hold; not escaped for HTML."
    return "".join(c if c.isprintable() else "?" for c in text)


def in_one_line(text: object) -> str:
    "Without line breaks and what moves a terminal's cursor; of a long text the beginning and the end."
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= LETTERS else f"{line[:LETTERS // 2]} … {line[3 - LETTERS // 2:]}"


def warn(
    message: str,
) -> None:
    "A warning that names the line of the user from which the package was called, however deep this lies."
    inside, frame, level = (os.path.dirname(__file__), contextlib.__file__), sys._getframe(1), 2
    while frame.f_back and frame.f_code.co_filename.startswith(inside): frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def guard(
    module: str,  # `__name__`, in the last line of a module
    known: dict[str, str] | None = None,  # parameter, or "function.parameter" → what it may be, as described below
    around: collections.abc.Callable | None = None,  # a decorator of all of them, such as `undisturbed()`
) -> None:
    """Check what is given to the public functions, classes and methods of a module; wrong input is an `InputError`.

    What is checked: the kind, by the annotation; that numbers are finite and have 64 bits; that tensors are dense real
    numbers, and not empty; and what `known` says. `"N C H W float finite"`: a tensor or array of four dimensions, the
    same letter being the same size everywhere in a call, with floating-point values without NaN and infinities. A whole
    number stands for itself, `…` for any dimensions, `empty` allows sizes of 0. `"1..10"`: a number from 1 to 10;
    either end may be missing; after a shape it holds for all values. `"with history epochs"`: an object that has these;
    `"keys x y"`: a dict that has these.
    `"device"`: a device of torch that is there. `"any"`: nothing but the kind. A method is `"Class.method.parameter"`;
    what stands as `"parameter"` holds in all functions. Three failures of the call itself are wrong input, too: what
    a network that was handed in raises at what it is given, memory that is not there, and names that no disk takes.
    In a notebook nothing happens: there a function stands as it is written.
    """
    if not isinstance(module, str) or module not in sys.modules:
        raise TypeError(f"guard: {shown(module)} is not the name of an imported module")
    if not isinstance(known, dict | None): raise TypeError(f"guard: known has to be a dict, not {shown(known)}")
    known, home = known or {}, sys.modules[module].__dict__
    names = home.get("__all__", ())
    used: set[str] = set()
    for name in names:
        thing = home[name]
        if getattr(thing, "__module__", None) != module or hasattr(thing, MARK): continue
        if inspect.isfunction(thing): home[name] = _guarded(thing, name, known, used, around)
        elif inspect.isclass(thing) and not issubclass(thing, BaseException): _guard_class(thing, known, used, around)
    unknown = set(known) - used
    if names and unknown: raise TypeError(f"guard of {module}: no function has {sorted(unknown)}")


def _guard_class(cls: type, known: dict, used: set, around) -> None:
    for name, thing in list(vars(cls).items()):
        if (name.startswith("_") and name != "__init__") or name == "forward": continue
        kind = type(thing) if isinstance(thing, classmethod | staticmethod) else None
        function = thing.__func__ if kind else thing
        if not inspect.isfunction(function) or hasattr(function, MARK): continue
        label = cls.__name__ if name == "__init__" else f"{cls.__name__}.{name}"
        checked = _guarded(function, label, known, used, around)
        setattr(cls, name, kind(checked) if kind else checked)


def _guarded(function, label: str, known: dict, used: set, around):
    if around: function = _each_step(around, function) if inspect.isgeneratorfunction(function) else around(function)
    signature = inspect.signature(function)
    rules = {}
    for name in signature.parameters:
        for key in (f"{label}.{name}", name):
            if key in known:
                rules.setdefault(name, known[key])
                used.add(key)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        given = signature.bind(*args, **kwargs).arguments  # a TypeError in Python's own words, if they do not fit
        _check(label, function, signature, given, rules)
        try: return function(*args, **kwargs)
        except InputError: raise
        except Exception as error:
            reason = _not_ours(error, given)
            if reason: raise InputError(f"{label}: {reason}") from error
            raise
    setattr(checked, MARK, True)
    return checked


def _each_step(around, function):
    "A generator function, decorated: its body runs while it is asked for the next item, and not while it is called."
    @functools.wraps(function)
    def steps(*args, **kwargs):
        items, end = function(*args, **kwargs), object()
        step = around(lambda: next(items, end))
        while (item := step()) is not end: yield item
    return steps


def _not_ours(error: Exception, given: dict) -> str:
    "Why a call failed, where the reason is what it was given and cannot be seen beforehand; empty for anything else."
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"there is not enough memory for this ({in_one_line(error)[:150]}): take smaller sizes"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # pathlib raises where it looks for a file
        return f"the name of a file is too long: {shown(error.filename)}"
    networks = {id(value) for value in given.values() if isinstance(value, nn.Module)}
    for frame, _ in traceback.walk_tb(error.__traceback__ if networks else None):
        network = frame.f_locals.get("self")
        if frame.f_code.co_name == "_call_impl" and id(network) in networks:
            return (f"{type(network).__name__} cannot take what it is given "
                    f"({type(error).__name__}: {in_one_line(error)[:250]})")
    return ""


@functools.cache
def _hints(function) -> dict:
    "The annotations of a function; those that cannot be resolved are not checked."
    home = inspect.unwrap(function).__globals__
    hints = {}
    for name, hint in function.__annotations__.items():
        try: hints[name] = eval(hint, home) if isinstance(hint, str) else hint  # noqa: S307  our own source
        except NameError: continue
    return hints


def _check(label: str, function, signature: inspect.Signature, given: dict, rules: dict) -> None:
    hints, sizes = _hints(function), {}
    for name, value in given.items():
        if name == "self": continue
        parameter, hint = signature.parameters[name], hints.get(name, Any)
        kind = parameter.kind
        several = {inspect.Parameter.VAR_POSITIONAL: lambda v: v, inspect.Parameter.VAR_KEYWORD: dict.values}.get(kind)
        for one in several(value) if several else [value]:
            if one is None and parameter.default is None: continue
            if not _fits(one, hint): raise InputError(f"{label}: {name} has to be {_word(hint)}, not {shown(one)}")
            _check_value(f"{label}: {name}", one, rules.get(name, ""), sizes)


def _fits(value, hint) -> bool:
    "Whether a value is of a kind; of a container that is no dict, and may be long, 20 items are looked at."
    if hint is None: return value is None
    if hint is Any: return True
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType): return any(_fits(value, part) for part in parts)
    if origin is typing.Literal: return any(type(value) is type(part) and value == part for part in parts)
    if origin is typing.Annotated: return _fits(value, parts[0])
    kind = origin or hint
    if not isinstance(kind, type): return True  # a type variable
    if kind in SCALARS: return isinstance(value, SCALARS[kind]) and not isinstance(value, bool | np.bool_)
    if not isinstance(value, kind): return False
    if isinstance(value, str) and kind not in (str, object): return False  # a sequence of its letters is not meant
    if kind in (list, tuple, collections.abc.Sequence, collections.abc.Collection) and parts:
        if kind is tuple and parts[-1] is not Ellipsis:
            return len(value) == len(parts) and all(map(_fits, value, parts))
        return all(_fits(item, parts[0]) for item in itertools.islice(value, 20))
    if isinstance(value, dict) and len(parts) == 2:
        return all(_fits(k, parts[0]) and _fits(v, parts[1]) for k, v in value.items())
    return True


def _word(hint) -> str:
    "An annotation for readers."
    if hint is None or hint is type(None): return "None"
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType): return " or ".join(map(_word, parts))
    kind = origin or hint
    if kind in (list, tuple) and parts and parts[0] is not Ellipsis: return f"a {kind.__name__} ({_word(parts[0])} …)"
    if kind is dict and parts: return f"a dict ({' → '.join(map(_word, parts))})"
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def shown(value) -> str:
    "What was given, in a few words on one line."
    if isinstance(value, Tensor | np.ndarray):
        return f"a {type(value).__name__} of shape {tuple(value.shape)} and {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, str | numbers.Number | None | os.PathLike):
        try: text = ascii(value)
        except ValueError: text = "a number of very many digits"
        return text if len(text) < 60 else f"{text[:56]}…"
    name = type(value).__name__
    if isinstance(value, list | tuple): kinds = {type(item).__name__ for item in value}
    elif isinstance(value, dict): kinds = {f"{type(k).__name__} → {type(v).__name__}" for k, v in value.items()}
    else: return f"of type {name}"
    return f"a {name} of {', '.join(sorted(kinds)[:5])}" if kinds else f"an empty {name}"


def _check_value(what: str, value: Any, rule: str, sizes: dict) -> None:
    if rule == "any" or (value is None and not rule.startswith("with ")): return
    if rule == "device" or rule.startswith("with "): return _check_use(what, value, rule)
    if isinstance(value, Tensor | np.ndarray): return _check_tensor(what, value, rule, sizes)
    if isinstance(value, dict) and rule.startswith("keys "):
        missing = [key for key in rule.split()[1:] if key not in value]
        if missing: raise InputError(f"{what} has no {', '.join(missing)}")
    if isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value[:20]:
            if isinstance(item, Tensor | np.ndarray): _check_dense(f"a part of {what}", item)
    limits = RANGE.fullmatch(rule) if rule else None
    if rule and not limits and not isinstance(value, list | tuple | dict): # a shape was wanted
        raise InputError(f"{what} has to be a tensor of {rule}, not {shown(value)}")
    if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_): return
    number: Any = value
    if isinstance(value, numbers.Rational): right, wanted = -2**63 <= number < 2**63, "a number of 64 bits"
    else: right, wanted = math.isfinite(number), "a finite number"
    if not right: raise InputError(f"{what} has to be {wanted}, not {shown(value)}")
    if limits: _check_range(what, number, number, limits, shown(value))


def _check_range(what: str, low: Any, high: Any, limits: re.Match, given: str) -> None:
    "That all from `low` to `high` lies within limits; NaN does not."
    least, most = (float(x) if x else None for x in limits.groups())
    if (least is not None and not low >= least) or (most is not None and not high <= most):
        ends = [f"{word} {end:,.15g}" for word, end in (("at least", least), ("at most", most)) if end is not None]
        raise InputError(f"{what} has to be {' and '.join(ends)}, not {given}")


def _check_dense(what: str, x) -> None:
    "Numbers that lie in memory one by one: no tensor without values (meta), sparse, quantised, complex, of objects."
    if isinstance(x, np.ndarray): dense = x.dtype.kind in "biuf"
    else: dense = not (x.is_meta or x.is_quantized or x.is_complex()) and x.layout is torch.strided
    if not dense: raise InputError(f"{what} has to hold plain real numbers, not {shown(x)}")


def _check_use(what: str, value: Any, rule: str) -> None:
    "That a device is there, or that an object has what will be asked of it."
    if rule == "device":
        try: torch.empty(0, device=value)
        except Exception as e: # CUDA that is not there is an AssertionError, a wrong name a RuntimeError
            raise InputError(f"{what} has to be a device such as 'cpu', not {shown(value)}") from e
    missing = [name for name in rule.split()[1:] if isinstance(value, type) or not hasattr(value, name)]
    if missing: raise InputError(f"{what} has to be an object with {', '.join(rule.split()[1:])}, not {shown(value)}")


def _check_tensor(what: str, x, rule: str, sizes: dict) -> None:
    _check_dense(what, x)
    limits = [found for found in map(RANGE.fullmatch, rule.split()) if found]
    words = [w for w in rule.split() if not RANGE.fullmatch(w)] or ["…"]
    flags = [w for w in words if w in KINDS or w in ("finite", "empty")]
    wanted, shape = [w for w in words if w not in flags], tuple(x.shape)
    pattern, gap = list(wanted), len(shape) - len(wanted) + 1
    if "…" in pattern and gap >= 0:
        at = pattern.index("…")
        pattern[at:at + 1] = [""] * gap
    fits, known = len(pattern) == len(shape), [f"{w} = {sizes[w]}" for w in wanted if w in sizes]
    for word, size in zip(pattern, shape, strict=False):
        if word: fits &= size == (int(word) if word.isdigit() else sizes.setdefault(word, size))
    if not fits:
        where = f" with {', '.join(known)}" if known else ""
        raise InputError(f"{what} has to be of shape ({', '.join(wanted)}){where}, not {shown(x)}")
    if 0 in shape and "empty" not in flags: raise InputError(f"{what} is empty: {shown(x)}")
    dtype = str(x.dtype).removeprefix("torch.")
    for flag in flags:
        if flag == "float": right = "float" in dtype
        elif flag in KINDS: right = dtype == KINDS[flag]
        else: continue
        if not right: raise InputError(f"{what} has to hold {KINDS[flag].replace('_', ' ')} values, not {shown(x)}")
    if "finite" in flags and not (torch.isfinite(x) if isinstance(x, Tensor) else np.isfinite(x)).all():
        raise InputError(f"{what} holds NaN or infinities: {shown(x)}")
    for found in limits:
        low, high = x.min().item(), x.max().item()
        _check_range(what, low, high, found, f"from {low:.4g} to {high:.4g}")
