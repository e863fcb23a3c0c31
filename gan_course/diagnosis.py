"""What looks sick in the curves of a training: the clinic of lesson 02 as rules, which say no more than the numbers do.

The rules look at the second half of a history, and at D's loss in units of what a D pays that only guesses, so that one
rule serves several losses. Their limits lie between what sick and healthy trainings showed (tests/sick_runs.py).
"""
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from .core import InputError
from .guards import guard
from .losses import get_loss

__all__ = ["LEAST", "UNSEEN", "Finding", "diagnose"]

LEAST = 4  # rows of a history; fewer say nothing
UNSEEN = ("whether the images are good or varied (most collapses have calm curves: look at the samples), "
          "and what happens within an epoch, of which each number is the mean")
NEEDED = ("d_loss_real", "d_loss_fake", "g_loss")
NO_VERDICTS = ("wgan-gp", "rpgan")  # only differences of logits mean something, so accuracies do not (lesson 06)


@dataclass(frozen=True)
class Finding:
    """Something that looks sick."""

    name: str  # as lesson 02 calls it, where it does
    sure: str  # "likely", or "possible" where a healthy training may look so, too
    seen: str  # the numbers, and when
    cure: str  # in options of `gan-course train`
    settings: tuple[str, ...]  # that the cure changes
    lesson: str  # where it is explained

    def __str__(self):
        return f"{self.sure}: {self.name}\n  seen: {self.seen}\n  cure: {self.cure}\n  read: lesson {self.lesson}"


def is_number(value) -> bool:
    """Neither NaN nor infinite, nor anything else that has run away."""
    return isinstance(value, int | float | np.floating) and bool(abs(value) < 1e30)


def unit_of(history: list[dict]) -> str:
    """What the rows of a history are: epochs of a run, or steps of a toy game."""
    return "step" if "epoch" not in history[0] and "step" in history[0] else "epoch"


class Curves:
    """The second half of a history in numbers that the rules compare."""

    def __init__(self, history: list[dict], loss: str):
        self.history, self.loss = history, get_loss(loss)
        undecided = torch.full((1,), self.loss.threshold)
        self.guess = float(sum(self.loss.d(undecided, undecided)))  # 2 log 2 for bce; 0 for wgan-gp: no level at all
        half = len(history) // 2
        self.real, fake, g = (self.column(name) for name in NEEDED)
        self.finite = bool(np.isfinite([self.real, fake, g]).all())
        self.peaks = np.abs([self.real, fake, g]).max(0)  # of each row, its largest loss
        self.g = g[half:]
        level = (self.real + fake)[half:] / (self.guess or 1)
        self.paid = float(np.median(level))  # by D; 1 is what guessing costs
        at = np.arange(len(level))
        self.swing = float((level - np.polyval(np.polyfit(at, level, 1), at)).std()) if self.finite else math.nan
        right, held_out = self.column("d_acc_real")[half:], self.column("d_acc_real_test")[half:]
        self.right_real, self.right_fake = float(np.median(right)), float(np.median(self.column("d_acc_fake")[half:]))
        self.verdicts = loss not in NO_VERDICTS and math.isfinite(self.right_real + self.right_fake)
        measured = np.isfinite(right) & np.isfinite(held_out)
        self.right, self.held_out = right[measured], held_out[measured]
        self.unit = unit_of(history)
        called = "epochs" if self.unit == "epoch" else "rounds"
        self.when = f"in {called} {history[half][self.unit]} to {history[-1][self.unit]}"

    def column(self, name: str) -> np.ndarray:
        """NaN where nothing was measured, or what cannot be a measurement."""
        values = [row.get(name) for row in self.history]
        return np.array([value if is_number(value) else math.nan for value in values], dtype=float)

    def balance(self) -> str:
        """D's loss and accuracies in words."""
        return (f"D pays {self.paid:.2f} of what guessing costs and is right on {self.right_real:.0%} of the real and "
                f"{self.right_fake:.0%} of the generated images {self.when}")


def rates_too_high(c: Curves) -> Finding | None:
    """Lesson 02, chart 4: a spike in the hundreds or thousands. Others stay below 8 times what guessing costs."""
    if not c.finite: seen = "a loss is NaN or infinite"
    elif c.guess and c.peaks.max() > 20 * c.guess:
        at = c.peaks.argmax()
        seen = f"a loss of {c.peaks[at]:.0f} in {c.unit} {c.history[at][c.unit]}, where guessing costs D {c.guess:.1f}"
    else: return None
    return Finding("learning rate too high", "likely", seen, "a tenth of --lr-g and --lr-d, or less", ("lr_g", "lr_d"),
                   "02_toy")


def d_too_weak(c: Curves) -> Finding | None:
    """Lesson 02, chart 5: D pays what guessing costs for real images from the first row on, or all fakes fool it.

    A game that was won ends there, too, but does not begin there: D sees through a fresh G at once.
    """
    if not c.verdicts: return None
    if np.abs(2 * c.real / c.guess - 1).max() <= .06:
        seen = f"D's loss on real images is within 6 % of guessing ({c.guess / 2:.2f}) from the first row to the last"
    elif c.right_fake <= .05 and c.right_real >= .5:
        seen = f"D takes {1 - c.right_fake:.0%} of the generated images for real {c.when}"
    else: return None
    cure = "a higher --lr-d or a lower --lr-g; a g_step of your own has to move G alone"
    return Finding("D too weak", "likely", seen, cure, ("lr_d", "lr_g"), "02_toy")


def d_too_strong(c: Curves) -> Finding | None:
    """Lesson 02, charts 2 and 3: G cannot follow, or is told nothing where its loss is flat (minimax, lesson 01).

    A loss of G above 4 says that D gives its images less than one chance in 50. Good runs have that, too (the ready one
    of toy birds: 4.6), but there it stays where it is.
    """
    if not c.verdicts: return None
    if c.loss.name == "minimax":
        if c.paid > .5 or min(c.right_real, c.right_fake) < .75: return None
        return Finding("vanished gradient", "likely" if c.paid <= .05 else "possible",
                       f"{c.balance()}, where the minimax loss of G is flat", "--loss bce", ("loss",), "02_toy")
    third = max(1, len(c.g) // 3)
    before, after = c.g[:third].mean(), c.g[-third:].mean()
    runs_away = c.loss.name == "bce" and after > max(4, 1.3 * before)
    if not runs_away and c.paid > .1 and not (c.loss.name == "bce" and np.median(c.g) > 5): return None
    return Finding("D too strong", "likely" if runs_away or c.paid <= .05 else "possible",
                   f"{c.balance()}; G's loss goes from {before:.1f} to {after:.1f}",
                   "a higher --lr-g or a lower --lr-d; --d-steps 1; --beta1 0.5 if it is higher",
                   ("lr_g", "lr_d", "d_steps", "beta1"), "02_toy")


def oscillation(c: Curves) -> Finding | None:
    """Lesson 02, chart 1: D's loss swings about a level where neither wins. Healthy games swing by less than 0.08.

    Never likely: means over epochs of a few steps swing by themselves, and too high rates or a weak D look alike.
    """
    if not c.verdicts or c.paid < .55 or c.swing < .1: return None
    return Finding("oscillation", "possible",
                   f"D's loss swings by {c.swing:.2f} of what guessing costs (standard deviation) {c.when}",
                   "--beta1 0.5 if it is higher, lower rates, or --r1 0.1", ("beta1", "lr_g", "lr_d"), "02_toy")


def collapse(c: Curves) -> Finding | None:
    """Lesson 02, chart 6: D knows nearly every fake and yet doubts real images: those like the few that G makes.

    Never likely: most collapses have the curves of health (lesson 20, statement c).
    """
    if not c.verdicts or c.right_fake < .9 or c.right_fake - c.right_real < .06: return None
    return Finding("collapse", "possible", c.balance(),
                   "look at the samples; if they are alike, --r1 0.1 or --d-steps 1", ("r1", "d_steps"), "02_toy")


def by_heart(c: Curves) -> Finding | None:
    """Lessons 06 and 20: D is right on its training images more often than on held-out ones, and not by chance."""
    if not c.verdicts or len(c.right) < 3: return None
    gaps = c.right - c.held_out
    if gaps.mean() < max(.05, 3 * gaps.std(ddof=1) / math.sqrt(len(gaps))): return None
    return Finding("D learns by heart", "likely" if gaps.mean() >= .1 else "possible",
                   f"D is right on {c.right.mean():.0%} of its training images and on {c.held_out.mean():.0%} of "
                   f"held-out ones {c.when}", "--augment color,translation,cutout, or more images",
                   ("augment", "limit"), "20_birds")


def fid_rises(c: Curves) -> Finding | None:
    """Lesson 07: the FID is the one column that judges images. From one epoch to another it wavers by a few percent."""
    fid = c.column("fid")
    known = np.flatnonzero(np.isfinite(fid))
    if len(known) < 3: return None
    best, last = known[fid[known].argmin()], known[-1]
    if fid[last] <= 1.2 * fid[best]: return None
    at, end = (c.history[i][c.unit] for i in (best, last))
    return Finding("images become worse", "likely",
                   f"the FID is {fid[best]:.1f} after epoch {at} and {fid[last]:.1f} after epoch {end}",
                   f"take the weights of epoch {at}, as sample and evaluate do by themselves; or --epochs {at}",
                   ("epochs",), "07_fid")


BALANCE: tuple[Callable[[Curves], Finding | None], ...] = (  # the first that fits explains the others
    rates_too_high, d_too_weak, d_too_strong, oscillation, collapse)


def diagnose(
    history: list[dict],  # rows of a run (`Run.history`), or snapshots of a toy game (`toy.play`)
    loss: str = "bce",  # they were trained with: what guessing costs depends on it
) -> list[Finding]:  # empty: nothing looks sick, which does not say that all is well (`UNSEEN`)
    """What looks sick in the curves of a training, with its cure and how sure that is."""
    get_loss(loss)
    for i, row in enumerate(history, 1):
        missing = [name for name in NEEDED if not isinstance(row.get(name), Real)]
        if not is_number(row.get(unit_of(history))): missing.append(unit_of(history))
        if missing:
            raise InputError(f"row {i} of the history has no number {missing[0]}: "
                             "give the history of a run, or the snapshots of a toy game")
    if len(history) < LEAST: return []
    curves = Curves(history, loss)
    balance = next(filter(None, (rule(curves) for rule in BALANCE)), None)
    heart = None if balance and balance.name == "D too weak" else by_heart(curves)  # who guesses knows nothing
    return [finding for finding in (balance, heart, fid_rises(curves)) if finding]


guard(__name__)
