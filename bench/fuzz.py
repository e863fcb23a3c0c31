"""Hostile calls of every public function, class, method and command, and what came of them.

    python bench/fuzz.py                       5,000 calls of functions, 1,000 of commands
    python bench/fuzz.py --only fid. --seed 3  others, of names with "fid." in them
    python bench/fuzz.py --returns 200         and 200 normal returns of hostile calls, to be read: silent nonsense

Right are a result, an InputError, or a TypeError whose message is one readable line; of a command exit status 0, 1 or
2, the latter with one line. Everything else is counted as a failure and told: other errors, hangs (20 s), more than
2 GB of memory, a process that died, a file written elsewhere, a program started. Exit status 1 if there is one.
`tests/fuzzing/` has the valid calls and the hostile values.
"""
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import common

sys.path.insert(0, str(common.ROOT/"tests"))
import fuzzing
from fuzzing import calls, words

KINDS = "returned", "InputError", "TypeError", *fuzzing.ALARMS


@dataclass
class Options(common.Options):
    """Hostile calls of everything public."""
    TINY_SIZES = dict(calls=60, only="losses.")
    calls: int = 5000  # of functions, classes and methods, in turn
    commands: int = 1000  # of the command line
    seed: int = 22  # of what is given; each call depends on it and on its own number alone
    only: str = ""  # names that hold this
    returns: int = 0  # print so many normal returns
    log: Path|None = None  # every call in a line


def made(options, base):
    """The outcomes of all calls: first the valid ones, which have to work."""
    names = [n for n in fuzzing.public() if options.only in n]
    commands = [n for n in words.COMMANDS if options.only in n]
    hostile = [n for n in names if fuzzing.takes_something(n)]
    works = [(n, fuzzing.call(n)) for n in names] + [(n, words.command(n)) for n in commands]
    works += [(n, fuzzing.call(n, f"{options.seed} {i}")) for i, n in fuzzing.in_turn(hostile, options.calls)]
    works += [(n, words.command(n, f"{options.seed} {i}")) for i, n in fuzzing.in_turn(commands, options.commands)]
    for i, outcome in enumerate(fuzzing.in_forks(works, base, options.threads), 1):
        if not (outcome.hostile or outcome.kind == "returned" or outcome.name in calls.REFUSED):
            outcome.kind = "invalid"
        yield outcome
        if i % 250 == 0: common.note(f"{i} of {len(works)} calls")


def main():
    options = common.read_options(Options, __doc__)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as base:
        fuzzing.prepare(Path(base))
        outcomes = list(made(options, Path(base)))
    failures = [o for o in outcomes if o.kind in fuzzing.ALARMS]
    if options.log: options.log.write_text("".join(f"{o}\n" for o in outcomes))
    returns = [o for o in outcomes if o.kind == "returned" and o.hostile]
    for o in random.Random(options.seed).sample(returns, min(options.returns, len(returns))): print(o)
    parts = {"valid": [o for o in outcomes if not o.hostile], "hostile": [o for o in outcomes if o.hostile]}
    tables = {"calls": {title: dict(calls=len(part), **{kind: sum(o.kind == kind for o in part) for kind in KINDS})
                        for title, part in parts.items()}}
    if failures:
        by_name = {o.name: [p for p in failures if p.name == o.name] for o in failures}
        tables["failures"] = {name: dict(n=len(some), first=str(some[0])[:300])
                              for name, some in sorted(by_name.items())}
    common.report(options, tables)
    sys.exit(bool(failures))


if __name__ == "__main__": main()
