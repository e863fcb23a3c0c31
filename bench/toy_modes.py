"""The ring of eight: the healthy set-up and the failing one of the lesson on toys, three seeds each.

    python bench/toy_modes.py [--seeds 0 1 2]

Counted as in the lesson (`coverage`) on 2500 points after the last round; "seconds" is a whole game with its first
and last snapshot. Exit status 1 if a healthy game covers fewer than 7 modes or takes 60 s, or a failing one covers
more than 3. Half a minute on two cores.
"""
import dataclasses
import sys
from collections import deque
from dataclasses import dataclass

from common import Options, clock, read_options, report

from gan_course.toy import COLLAPSE, ToyConfig, play

SET_UPS = {
    "healthy": ToyConfig(),
    "failing": COLLAPSE,
    "failing, mended by r1=0.1": dataclasses.replace(COLLAPSE, r1=.1),
}


@dataclass
class ToyOptions(Options):
    TINY_SIZES = dict(seeds=(0,), steps=30)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int|None = None  # rounds of each game; by default those of its set-up


def last_snapshot(config):
    """The game as it stands after its last round."""
    return deque(play(config, every=config.steps, n=2500), maxlen=1)[0]


def as_expected(row):
    """Is a game healthy, quick, or failing, as its name says?"""
    if row["set-up"] == "failing":
        return row["modes"] <= 3
    return row["modes"] >= 7 and (row["set-up"] != "healthy" or row["seconds"] <= 60)


def main():
    o = read_options(ToyOptions, __doc__)
    last_snapshot(ToyConfig(steps=20))  # warm up
    rows = []
    for seed in o.seeds:
        for name, config in SET_UPS.items():
            config = dataclasses.replace(config, seed=seed, steps=o.steps or config.steps)
            game = clock(lambda config=config: last_snapshot(config))
            found = {key: game.result[key] for key in ("modes", "good")}
            rows.append({"seed": seed, "set-up": name, **found, "seconds": game.wall})
    report(o, {"modes of 8, and the share of points near one": rows})
    sys.exit(not o.tiny and not all(map(as_expected, rows)))


if __name__ == "__main__":
    main()
