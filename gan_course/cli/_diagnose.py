"""`gan-course diagnose`."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from gan_course.cli._surroundings import file_to_write, options, say

if TYPE_CHECKING:
    from gan_course.diagnosis import Finding
    from gan_course.runs import Run


@dataclass
class DiagnoseOptions:
    """What looks sick in the curves of a run (history.csv), how sure that is, the cure, the lesson to read."""

    run: Positional[str]  # a run folder, or the name of a ready run such as toy-birds-dcgan
    json: Path | None = None  # write what was found to this file, too


def diagnose(args: list[str]) -> None:
    """`gan-course diagnose`; whatever is found, its exit status is 0."""
    o = options(DiagnoseOptions, "diagnose", args)
    from gan_course.diagnosis import LEAST, UNSEEN, diagnose
    from gan_course.runs import open_run
    from gan_course.settings import with_defaults
    from gan_course.storage import write_json

    file = file_to_write(o.json, "--json") if o.json else None
    run = open_run(o.run)
    epochs, own = len(run.history), bool(run.info.get("own_networks"))
    found = diagnose(run.history, with_defaults(run.config, own).loss or "bce")
    if file: write_json(file, dict(run=str(o.run), epochs=epochs, found=[dataclasses.asdict(f) for f in found]))
    if found: say("\n".join(told(finding, run) for finding in found))
    elif epochs < LEAST: say(f"{epochs} epochs are too few to tell anything from: train {LEAST} or more")
    else: say(f"nothing looks sick in the curves of these {epochs} epochs; what they cannot show: {UNSEEN}")
    if run.info.get("steps"): say("this run was trained with steps of its own: its losses may mean something else")
    if o.json: say(f"written to {o.json}")


def told(finding: Finding, run: Run) -> str:
    """A finding, with what the run has now of the settings that the cure changes."""
    settings = {name: getattr(run.config, name) for name in finding.settings}
    now = ", ".join(f"{name} {'none' if value in (None, '') else value}" for name, value in settings.items())
    return str(dataclasses.replace(finding, cure=f"{finding.cure} (now: {now})"))
