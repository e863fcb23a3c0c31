"""`gan-course exercises`: the exercises of the lessons, and how far one is."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from gan_course.cli._surroundings import file_to_write, say


@dataclass
class ExercisesOptions:
    """How far you are with the exercises: a line a lesson, or, for one lesson, a line an exercise."""

    lesson: Positional[str | None] = None  # e.g. 01
    json: Path | None = None
    """a file to write for those who mark: what was passed and when, tries, hints, a hash of each answer"""


def exercises(args: list[str]) -> None:
    """`gan-course exercises`."""
    import tyro

    o = tyro.cli(ExercisesOptions, prog="gan-course exercises", args=args)
    from gan_course.exercises import exercise_lines, progress, progress_lines

    if o.json: progress(file_to_write(o.json))
    else:
        for line in exercise_lines(o.lesson) if o.lesson else progress_lines(): say(line)
