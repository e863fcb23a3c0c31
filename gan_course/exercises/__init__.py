"""Exercises that check themselves: `check`, `hint`, `solution` and `progress`, with the tasks of each lesson beside."""
from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

from ..core import choose
from ..guards import guard
from ..storage import write_json
from ._judge import Exercise, Lesson, Verdict, Wrong, is_stub, judge, lessons
from ._record import Record, fingerprint, read_record, record

__all__ = ["Exercise", "Lesson", "Record", "Verdict", "Wrong", "all_exercises", "check", "hint", "solution", "progress",
           "progress_lines", "exercise_lines"]


def all_exercises() -> dict[str, Exercise]:  # "01.2" → the exercise
    """Every exercise of the course, in the order of the lessons."""
    return {e.id: e for lesson in lessons() for e in lesson.exercises}


def _exercise(id: str) -> Exercise:
    known = all_exercises()
    return known[choose(id, known, "exercise")]


def check(
    id: str,  # of the exercise, e.g. "01.2": lesson 01, exercise 2
    answer: Any,  # a function, a class, a number or a word, as the lesson asks
) -> Any:  # `answer` if it is right, otherwise the course's own, so that the notebook runs on
    """Try an answer; what is wrong with it is said, with the thought that usually stands behind it."""
    e = _exercise(id)
    if is_stub(answer):
        print(f"○ {id} {e.title}: not started ({e.minutes} minutes, {e.stars}); what follows uses the course's own")
        return e.given_back
    verdict = judge(e, answer)
    record(id, tried=1, passed=verdict.right, answer=fingerprint(id, answer))
    if verdict.right:
        print(f"✓ {id} {e.title}: right, and used from here on")
        return answer
    print(f"✗ {id} {e.title}: {verdict.reason}")
    for line in verdict.details: print(f"    {line}")
    print(f"    hint(\"{id}\") helps; what follows uses the course's own")
    return e.given_back


def hint(
    id: str,  # of the exercise
) -> None:
    """The next hint of an exercise; the last one is followed by the first."""
    e = _exercise(id)
    seen = record(id, hints=1).hints
    i = (seen - 1) % len(e.hints)
    print(textwrap.fill(f"Hint {i + 1} of {len(e.hints)}: {e.hints[i]}", 100))
    if i == len(e.hints) - 1: print(f'solution("{id}") shows the answer')


def solution(
    id: str,  # of the exercise
) -> None:
    """The answer of an exercise, as code or as a value, and why it is so."""
    e = _exercise(id)
    record(id, shown=True)
    print(textwrap.dedent(inspect.getsource(e.solution)) if callable(e.solution) else e.solution)
    if e.because: print(textwrap.fill(e.because, 100))


def progress(
    json: str | Path | None = None,  # a file to write besides, for those who mark
) -> None:
    """How far you are: a line a lesson.

    The file holds for each exercise whether it was passed and when, tries and hints, whether the solution was shown,
    and a hash of the answer that passed: equal hashes are equal answers.
    """
    for line in progress_lines(): print(line)
    if json is not None:
        write_json(json, {e.id: {"title": e.title, **read_record(e.id).as_dict()} for e in all_exercises().values()})
        print(f"written to {json}")


def exercise_lines(
    number: str,  # of a lesson, e.g. "01"
) -> list[str]:
    """A line an exercise."""
    lesson = {a.number: a for a in lessons()}
    of = lesson[choose(number, lesson, "lesson with exercises")].exercises
    return [f"{mark(read_record(e.id))} {e.id} {e.title:48} {e.minutes:>3} min {e.stars}" for e in of]


def mark(r: Record) -> str:
    """Passed, tried, or neither."""
    return "●" if r.passed else "◐" if r.tried else "○"


def progress_lines() -> list[str]:
    """A line a lesson: ● passed, ◐ tried, ○ not started."""
    out, done, minutes, whole = [], 0, 0, 0
    for lesson in lessons():
        records = [read_record(e.id) for e in lesson.exercises]
        marks = "".join(mark(r) for r in records)
        right = [e.minutes for e, r in zip(lesson.exercises, records, strict=True) if r.passed]
        all_minutes = sum(e.minutes for e in lesson.exercises)
        done, minutes, whole = done + len(right), minutes + sum(right), whole + all_minutes
        out.append(f"{lesson.number} {lesson.title:32} {marks:8} {len(right)} of {len(records)}, "
                   f"{sum(right)} of {all_minutes} minutes")
    return [*out, f"{done} of {len(all_exercises())} exercises passed, {minutes} of {whole} minutes"]


guard(__name__, {"check.answer": "any"})
