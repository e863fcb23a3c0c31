"""What a learner has done, one small file an exercise in the user's data folder: nothing is lost by a restart."""
from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from ..guards import warn
from ..storage import write_json

PLACE = "GAN_COURSE_PROGRESS"  # environment variable: a folder for the records


@dataclass
class Record:
    """Of one exercise."""

    passed: str = ""  # when first, ISO 8601; "": not yet
    tried: int = 0  # answers that were checked
    hints: int = 0  # hints that were asked for
    shown: bool = False  # whether the solution was
    answer: str = ""  # hash of the answer that passed

    def as_dict(self) -> dict:
        """For JSON."""
        return dataclasses.asdict(self)


def folder() -> Path:
    """Where the records lie."""
    return Path(os.environ[PLACE]).expanduser() if os.environ.get(PLACE) else user_data_path("gan-course") / "progress"


def read_record(id: str) -> Record:
    """What is known of an exercise; a damaged file counts as nothing."""
    try: stored = json.loads((folder() / f"{id}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError): return Record()
    kinds = {f.name: type(f.default) for f in dataclasses.fields(Record)}
    if not isinstance(stored, dict): return Record()
    return Record(**{k: v for k, v in stored.items() if type(v) is kinds.get(k)})


def record(id: str, *, tried: int = 0, hints: int = 0, passed: bool = False, shown: bool = False,
           answer: str = "") -> Record:
    """Add to what is known of an exercise; where nothing can be written it is said once, and the lesson goes on."""
    r = read_record(id)
    r.tried, r.hints, r.shown = r.tried + tried, r.hints + hints, r.shown or shown
    if passed and not r.passed: r.passed, r.answer = datetime.now(UTC).isoformat(timespec="seconds"), answer
    try:
        folder().mkdir(parents=True, exist_ok=True)
        write_json(folder() / f"{id}.json", r.as_dict())
    except (OSError, ValueError) as e:
        warn(f"progress cannot be kept ({e}): set {PLACE} to a folder that can be written")
    return r


def fingerprint(id: str, answer: Any) -> str:
    """SHA-256 of the exercise and the answer's source, blanks aside."""
    try: text = inspect.getsource(answer) if callable(answer) else repr(answer)
    except (OSError, TypeError): text = repr(answer)
    return hashlib.sha256(f"{id} {' '.join(text.split())}".encode()).hexdigest()
