"""What an exercise is, and how an answer is judged: by what it does, beside the solution and beside known mistakes."""
from __future__ import annotations

import ast
import contextlib
import dis
import importlib
import inspect
import io
import linecache
import math
import numbers
import pkgutil
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core import seeded
from ..session import undisturbed

TRIALS = 3  # with other random inputs each
RTOL, ATOL = 1e-4, 1e-5  # of what is computed


@dataclass(frozen=True)
class Wrong:
    """A plausible wrong answer, and what a learner who gives it is told."""

    answer: Any
    reason: str  # names the mistake and the thought that goes with it, in one or two sentences


def as_it_is(answer: Any, dice: torch.Generator) -> Iterator[tuple[str, Any]]:
    """The answer itself: for numbers and words."""
    yield "your answer", answer


@dataclass(frozen=True)
class Exercise:
    """A task of a lesson; the text of the task stands in the lesson."""

    id: str  # "01.2"
    title: str
    minutes: int  # for a learner who has read the lesson so far
    difficulty: int  # 1 to 3
    hints: Sequence[str]  # one or several, from a nudge to nearly the answer
    solution: Any  # function, class, number or word
    wrong: Sequence[Wrong]  # four or more
    observe: Callable[[Any, torch.Generator], Iterator[tuple[str, Any]]] = as_it_is
    """yields what is seen of an answer on random inputs: a phrase that says what was given, and what came out"""
    others: Sequence[Any] = ()  # other right answers, for the tests
    otherwise: str = ""  # what to think about where no known mistake fits
    because: str = ""  # why the solution is right; shown with it
    rtol: float = RTOL  # how far a number may be off
    use: Any = None  # what `check` gives back instead of the solution, e.g. the exported function

    @property
    def given_back(self) -> Any:
        """The course's own answer."""
        return self.solution if self.use is None else self.use

    @property
    def stars(self) -> str:
        """The difficulty."""
        return "★" * self.difficulty + "☆" * (3 - self.difficulty)


@dataclass
class Lesson:
    """The exercises of a lesson: a module `lesson_NN` has one."""

    number: str
    title: str
    exercises: list[Exercise] = field(default_factory=list)


@dataclass
class Verdict:
    """What is said of an answer."""

    right: bool
    reason: str = ""
    details: list[str] = field(default_factory=list)
    known: Wrong | None = None  # the mistake that it is, if it is a known one


def lessons() -> list[Lesson]:
    """All lessons that have exercises."""
    from .. import exercises

    names = sorted(m.name for m in pkgutil.iter_modules(exercises.__path__) if m.name.startswith("lesson_"))
    return [importlib.import_module(f"{exercises.__name__}.{name}").LESSON for name in names]


# --- judging

def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Right if all that is observed equals what is observed of the solution, on the same random inputs."""
    if callable(exercise.solution) != callable(answer):
        wanted = "the function itself, not what it returns" if callable(exercise.solution) else "a value"
        return Verdict(False, f"give {wanted}; this is {shown(answer)}")
    if isinstance(answer, str): answer = answer.strip().lower()

    def same(seen, expected): return alike([v for _, v in seen], [v for _, v in expected], exercise.rtol)

    for trial in range(TRIALS):
        expected, seen = (observations(exercise, a, trial) for a in (exercise.solution, answer))
        if same(seen, expected): continue
        for known in exercise.wrong:
            if same(seen, observations(exercise, known.answer, trial)):
                return Verdict(False, known.reason, difference(exercise, seen, expected), known)
        failed = isinstance(seen[-1][1], Failure) and not isinstance(expected[-1][1], Failure)
        reason = "your code does not run to its end" if failed else exercise.otherwise or "not yet"
        return Verdict(False, reason, difference(exercise, seen, expected))
    return Verdict(True)


@dataclass
class Failure:
    """An exception out of an answer."""

    kind: str
    text: str


def observations(exercise: Exercise, answer: Any, trial: int) -> list[tuple[str, Any]]:
    """What is seen of an answer: random inputs depend on the trial alone, and nothing of the session is changed."""
    seen: list[tuple[str, Any]] = []
    with undisturbed(grad=True), torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(trial)
        try:
            for what, value in exercise.observe(answer, seeded(trial)): seen.append((what, settled(value)))
        except Exception as e: seen.append(("running it", Failure(type(e).__name__, told(e))))
    return seen


def settled(value: Any) -> Any:
    """A copy that later steps do not change."""
    if isinstance(value, Tensor): return value.detach().clone()
    if isinstance(value, list | tuple): return [settled(v) for v in value]
    return value


def told(error: Exception) -> str:
    """An exception in one line, with the line of the answer where it came from."""
    lines = (f"{type(error).__name__}: {error}" if str(error) else type(error).__name__).strip().splitlines()
    text, trace, place = lines[0], error.__traceback__, ""
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if "ipykernel" in file or file.startswith("<"): place = linecache.getline(file, line).strip() or place
        trace = trace.tb_next
    return f"{text} (in: {place})" if place else text


def alike(a: Any, b: Any, rtol: float = RTOL) -> bool:
    """Whether two observations agree; shapes count, kinds of numbers do not."""
    if isinstance(a, Failure) and isinstance(b, Failure): return a.kind == b.kind
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(alike(x, y, rtol) for x, y in zip(a, b, strict=True))
    if _is_numeric(a) and _is_numeric(b):
        x, y = (torch.as_tensor(v) for v in (a, b))
        if x.shape != y.shape: return False
        return torch.allclose(x.double(), y.double(), rtol=rtol, atol=ATOL, equal_nan=True)
    return type(a) is type(b) and bool(a == b)


def _is_numeric(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray | numbers.Number)


def difference(exercise: Exercise, seen: list, expected: list) -> list[str]:
    """The first observation that is not as expected, in words."""
    for (what, got), (_, wanted) in zip(seen, expected, strict=False):
        if alike(got, wanted, exercise.rtol): continue
        if isinstance(got, Failure): return [f"it raises {got.text}"]
        if not callable(exercise.solution): return []  # the answer is not given away
        return [f"{what}: yours is {shown(got)}, expected {shown(wanted)}"]
    return ["it stops early"] if len(seen) < len(expected) else []


def shown(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Failure): return f"an error ({value.kind})"
    if value is None: return "nothing (does it `return` the result?)"
    if isinstance(value, Tensor | np.ndarray):
        x = torch.as_tensor(value)
        if x.ndim == 0: return shown(x.item())
        if x.numel() > 6: return f"of shape {tuple(x.shape)} with mean {x.double().mean().item():.4g}"
        values = str([float(f"{v:.4g}") for v in x.double().flatten().tolist()])
        return values + f" of shape {tuple(x.shape)}" * (x.ndim > 1)
    if isinstance(value, bool | str): return repr(value)
    if isinstance(value, numbers.Real): return "NaN" if math.isnan(value) else f"{value:.5g}"
    if isinstance(value, list | tuple): return f"({', '.join(map(shown, value))})"
    return f"of type {type(value).__name__}"


# --- stubs

IDLE = {"RESUME", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "NOP", "COPY_FREE_VARS", "MAKE_CELL"}


def is_stub(answer: Any) -> bool:
    """Whether nothing has been written yet: `...`, None, a function that does nothing or still has a `...` in it."""
    if answer is None or answer is Ellipsis: return True
    if isinstance(answer, type):
        written = [f for f in vars(answer).values() if isinstance(f, types.FunctionType)]
        return bool(written) and any(is_stub(f) for f in written)
    if isinstance(answer, nn.Module) or not isinstance(answer, types.FunctionType): return False
    code = answer.__code__
    if any(constant is Ellipsis for constant in code.co_consts) and not _only_indexes(answer): return True
    does = {i.opname for i in dis.get_instructions(code)}
    return does <= IDLE and set(code.co_consts) <= {None, answer.__doc__}


def _only_indexes(function: types.FunctionType) -> bool:
    "Whether every `...` of its source stands in an index, as in x[..., 0], and none for what is still to be written."
    try: tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError): return False
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value is Ellipsis]
    indexes = {id(n) for s in ast.walk(tree) if isinstance(s, ast.Subscript) for n in ast.walk(s.slice)}
    return all(id(n) in indexes for n in found)
