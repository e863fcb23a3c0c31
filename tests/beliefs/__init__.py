"""Wrong beliefs of learners and careless engineers, each as an edit of the code and the test that must fail."""
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gan_course"


@dataclass(frozen=True)
class Mutant:
    """One edit of a module. Its test has to fail; if it passes, nobody guards against the belief."""

    file: str  # the module that is edited, such as "losses"
    old: str  # stands in it exactly once, however the lines are broken
    new: str  # what it becomes
    test: str  # file and function in tests/, such as "test_losses.py::test_a_flat_critic_gives_no_nan"
    belief: str  # a sentence that somebody could believe, and that is wrong

    @property
    def path(self) -> Path:
        return PACKAGE.joinpath(*self.file.split(".")).with_suffix(".py")


@lru_cache
def squeezed(source: str) -> tuple[str, list[int]]:
    """A source without its spaces and line breaks, and where each character that is left stood."""
    kept = [i for i, c in enumerate(source) if not c.isspace()]
    return "".join(source.split()), kept


def places(old: str, source: str) -> list[tuple[int, int]]:
    """From where to where `old` stands in a source, however spaces and line breaks lie within it."""
    text, kept = squeezed(source)
    wanted = "".join(old.split())
    starts = [found.start() for found in re.finditer(re.escape(wanted), text)]
    return [(kept[i], kept[i + len(wanted) - 1] + 1) for i in starts]


def edited(mutant: Mutant, source: str) -> str:
    """The source with the edit made, or a ValueError unless there is exactly one place for it."""
    found = places(mutant.old, source)
    if len(found) != 1:
        raise ValueError(f"{mutant.file}.py has {len(found)} places for the edit of {mutant.old!r}")
    start, end = found[0]
    return source[:start] + mutant.new + source[end:]


def all_mutants() -> list[Mutant]:
    """Those of every family, in the order in which the course builds its modules."""
    from . import cams, diagnosis, distances, engine, folders, guards, images, latents, losses, networks, steps, views

    families = (losses, steps, networks, images, distances, cams, latents, views, engine, folders, guards, diagnosis)
    return [mutant for family in families for mutant in family.MUTANTS]
