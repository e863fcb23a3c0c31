"""Exercises of lesson 02: the loop, counting modes, reading a game."""
from typing import Any

import torch
from torch import nn

from ..losses import bce_d, bce_g
from ..toy import SIGMA, ToyDiscriminator, ToyGenerator, coverage, sample_toy, toy_modes
from ._judge import Exercise, Lesson, Wrong

# --- 02.1


def weights(network):
    return nn.utils.parameters_to_vector(network.parameters())


def both(losses):
    return losses[0] + losses[1]


def observe_train(answer, dice):
    """Both players after one and three iterations; what had reached G when D moved; how many batches were drawn."""
    real, noise, drawn, reached = sample_toy("ring", 16, dice), torch.randn(16, 2, generator=dice), [], []

    def draw_real():
        drawn.append(1)
        return real

    first = ToyGenerator(2, 6, dice).state_dict(), ToyDiscriminator(6, dice).state_dict()
    for iterations, said in (1, "one iteration"), (3, "three iterations"):
        G, D = ToyGenerator(2, 6, dice), ToyDiscriminator(6, dice)
        G.load_state_dict(first[0])
        D.load_state_dict(first[1])
        opt_g, opt_d = torch.optim.SGD(G.parameters(), .5), torch.optim.SGD(D.parameters(), .5)
        opt_d.register_step_pre_hook(lambda *_, G=G: reached.append(any(p.grad is not None for p in G.parameters())))
        drawn.clear()
        reached.clear()
        answer(G, D, opt_g, opt_d, draw_real, lambda: noise.clone(), iterations)
        yield f"the weights of D after {said}", weights(D)
        yield f"the weights of G after {said}", weights(G)
        yield "whether a gradient had reached G before D's first step", reached[:1]
    yield "batches of real points drawn in three iterations", len(drawn)


def solve_train(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
    for _ in range(iterations):
        real, fake = draw_real(), G(draw_noise()).detach()
        d_loss_real, d_loss_fake = bce_d(D(real), D(fake))
        opt_d.zero_grad()
        (d_loss_real + d_loss_fake).backward()
        opt_d.step()
        g_loss = bce_g(D(G(draw_noise())))
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()


def train_with_one_noise(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
    for _ in range(iterations):
        fake = G(draw_noise())
        d_loss = both(bce_d(D(draw_real()), D(fake.detach())))
        opt_d.zero_grad()
        d_loss.backward()
        opt_d.step()
        opt_g.zero_grad()
        bce_g(D(fake)).backward()
        opt_g.step()


def train_without_grad(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
    for _ in range(iterations):
        with torch.no_grad(): fake = G(draw_noise())
        D.zero_grad()
        both(bce_d(D(draw_real()), D(fake))).backward()
        opt_d.step()
        D.requires_grad_(False)
        G.zero_grad()
        bce_g(D(G(draw_noise()))).backward()
        opt_g.step()
        D.requires_grad_(True)


def d_part(G, D, opt_d, draw_real, draw_noise, zero=True, swap=False, cut=True):
    """D's step with one thing in it that can be wrong."""
    real, fake = draw_real(), G(draw_noise())
    if cut: fake = fake.detach()
    logits = (D(fake), D(real)) if swap else (D(real), D(fake))
    if zero: opt_d.zero_grad()
    both(bce_d(*logits)).backward()
    opt_d.step()


def g_part(G, D, opt_g, draw_noise, zero=True, cut=False, minimax=False):
    """G's step with one thing in it that can be wrong."""
    fake = G(draw_noise())
    logits = D(fake.detach() if cut else fake)
    g_loss = -bce_d(logits, logits)[1] if minimax else bce_g(logits)
    if zero: opt_g.zero_grad()
    g_loss.backward()
    opt_g.step()


def wrong_train(d_options=None, g_options=None, g_first=False, one_batch=False):
    """A loop with one mistake in it."""
    def train(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
        if one_batch:
            real = draw_real()
            draw_real = lambda: real  # noqa: E731
        for _ in range(iterations):
            if g_first: g_part(G, D, opt_g, draw_noise)
            d_part(G, D, opt_d, draw_real, draw_noise, **d_options or {})
            if not g_first: g_part(G, D, opt_g, draw_noise, **g_options or {})
    return train


def train_together(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
    for _ in range(iterations):
        opt_g.zero_grad()
        bce_g(D(G(draw_noise()))).backward()
        opt_d.zero_grad()
        both(bce_d(D(draw_real()), D(G(draw_noise()).detach()))).backward()
        opt_d.step()
        opt_g.step()


def train_through_one_graph(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
    for _ in range(iterations):
        fake = G(draw_noise())
        opt_d.zero_grad()
        both(bce_d(D(draw_real()), D(fake))).backward()
        opt_d.step()
        opt_g.zero_grad()
        bce_g(D(fake)).backward()
        opt_g.step()


def train_without_d(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
    for _ in range(iterations):
        d_part(G, D, opt_d, draw_real, draw_noise)
        opt_g.zero_grad()
        bce_g(G(draw_noise())).backward()
        opt_g.step()


def train_once(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
    d_part(G, D, opt_d, draw_real, draw_noise)
    g_part(G, D, opt_g, draw_noise)


def train_on_a_pair(G, D, opt_g, opt_d, draw_real, draw_noise, iterations):
    for _ in range(iterations):
        d_loss: Any = bce_d(D(draw_real()), D(G(draw_noise()).detach()))
        opt_d.zero_grad()
        d_loss.backward()


TRAIN = Exercise(
    "02.1", "The loop of a GAN", minutes=12, difficulty=2,
    hints=["An iteration is two steps, as in lesson 00: five lines for D, four for G. Each step is: compute a loss, "
           "`zero_grad`, `backward`, `step`.",
           "D's loss is the sum of the two numbers that `bce_d(D(real), D(fake))` returns, with `fake = "
           "G(draw_noise()).detach()`.",
           "G's loss is `bce_g(D(G(draw_noise())))`, without `detach`: the gradient has to pass through D to G. Only "
           "`opt_g` steps after it."],
    observe=observe_train, solution=solve_train, others=[train_with_one_noise, train_without_grad],
    wrong=[
        Wrong(wrong_train(dict(cut=False)),
              "the weights come out right, but D's loss sends a gradient into G as well. Here the next `zero_grad` "
              "throws it away; it costs a backward pass through G, and one day a `zero_grad` is missing. Cut the "
              "fakes off in D's step with `detach()`."),
        Wrong(train_through_one_graph,
              "PyTorch refuses a backward pass. Most often D's loss has gone back through G and used up its graph, "
              "which G's step then needs: call `detach()` on the fakes in D's step. If it says that a tensor does not "
              "require grad, D is missing in its own loss: `bce_d` takes logits, D(real) and D(fake)."),
        Wrong(train_without_d,
              "G's loss is taken of the points themselves, without D. `bce_g` takes logits: D(G(draw_noise()))."),
        Wrong(train_once,
              "this plays a single iteration. Both steps belong in a loop, `for _ in range(iterations):`."),
        Wrong(train_on_a_pair,
              "something has no such method. Most often it is D's loss: `bce_d` returns *two* numbers, one for the "
              "real points and one for the fakes. Add them before `backward`."),
        Wrong(wrong_train(None, dict(cut=True)),
              "G never moves: its fakes are detached in its own step, so no gradient comes back through D. `detach` "
              "belongs to D's step only."),
        Wrong(wrong_train(dict(zero=False)),
              "D's gradients add up: those of earlier steps, and those that G's `backward` leaves in D on its way. "
              "Call `opt_d.zero_grad()` before D's `backward`."),
        Wrong(wrong_train(None, dict(zero=False)),
              "G's gradients add up over the iterations. Call `opt_g.zero_grad()` before G's `backward`."),
        Wrong(wrong_train(dict(swap=True)),
              "the labels are swapped: D learns to call fakes real. `bce_d` takes the logits of the real points "
              "first."),
        Wrong(wrong_train(g_first=True),
              "G moves first, against a D that has not seen these fakes. Algorithm 1 of the paper trains D and then "
              "lets G answer the *new* D."),
        Wrong(train_together,
              "both gradients are computed before anybody moves, so G answers the old D. It is a game too, but not "
              "this one: here G's gradient passes through the D that has just moved."),
        Wrong(wrong_train(None, dict(minimax=True)),
              "this G raises D's loss on the fakes, which is the minimax loss: it saturates while D is sure. Take "
              "`bce_g`, which lowers the cross-entropy with the label real."),
        Wrong(wrong_train(one_batch=True),
              "the real points are drawn once, before the loop, so D sees the same batch in every iteration and could "
              "learn it by heart. Draw inside the loop."),
    ],
    otherwise="go through one iteration on paper: which loss, whose `zero_grad`, whose `step`, and may this gradient "
              "reach G?",
    because="D's step: loss on real points and detached fakes, then only D moves. G's step: loss through the new D, "
            "then only G moves. Whether G's step draws new noise or uses the same again makes no difference here.")

# --- 02.2


def observe_coverage(answer, dice):
    """Clouds of several widths, strays on both sides of a tenth, and points far from all modes."""
    ring, grid = toy_modes("ring"), toy_modes("grid")
    assert ring is not None and grid is not None  # they have modes
    yield "points of the ring", answer(sample_toy("ring", 400, dice), ring, SIGMA)
    some = ring[torch.randint(5, (400,), generator=dice)]
    wide = some + 3 * SIGMA * torch.randn(400, 2, generator=dice)
    yield "a cloud three times too wide on five of the modes", answer(wide, ring, SIGMA)
    yield "noise", answer(torch.randn(400, 2, generator=dice), ring, SIGMA)
    yield "noise on the grid, with sigma = 0.08", answer(torch.randn(500, 2, generator=dice), grid, .08)
    for n in 9, 10:
        x = torch.cat([ring[:1].expand(800 - n, 2), ring[1:2].expand(n, 2)])
        yield f"800 points, {n} of them in a second mode", answer(x, ring, SIGMA)
    half = torch.cat([ring.repeat(12, 1), torch.full((704, 2), 3.)])
    yield "800 points, of which 12 lie in each mode and the others far away", answer(half, ring, SIGMA)
    few = torch.cat([ring.repeat(9, 1), torch.full((728, 2), 3.)])
    yield "800 points, of which 9 lie in each mode and the others far away", answer(few, ring, SIGMA)


def solve_coverage(x, modes, sigma=.05):
    distance, nearest = torch.cdist(x, modes).min(1)
    good = distance <= 3 * sigma
    counts = torch.bincount(nearest[good], minlength=len(modes))
    enough = counts >= .1 * len(x) / len(modes)
    return enough.sum().item(), good.float().mean().item()


def coverage_mode_by_mode(x, modes, sigma=.05):
    distance = (x[:, None] - modes[None]).norm(dim=2)
    nearest, covered, total = distance.argmin(1), 0, 0
    for k in range(len(modes)):
        count = int(((nearest == k) & (distance[:, k] <= 3 * sigma)).sum())
        covered += count >= len(x) / len(modes) / 10
        total += count
    return covered, total / len(x)


def wrong_coverage(radius=3., power=1, least=.1, of_good=False, everything=False):
    """Counting with one thing in it that can be wrong."""
    def count(x, modes, sigma=.05):
        distance, nearest = torch.cdist(x, modes).min(1)
        good = distance**power <= radius * sigma
        counts = torch.bincount(nearest if everything else nearest[good], minlength=len(modes))
        share = (good.sum() if of_good else len(x)) / len(modes)
        return int((counts >= max(1, least * share)).sum()), good.float().mean().item()
    return count


COVERAGE = Exercise(
    "02.2", "Modes covered, and good points", minutes=8, difficulty=2,
    hints=["`torch.cdist(x, modes)` has the shape (N,K). Its `.min(1)` returns two things: the distance to the "
           "nearest mode, and which mode that is.",
           "`good = distance <= 3 * sigma` is a mask over the points. `torch.bincount(nearest[good], "
           "minlength=len(modes))` counts the good points of each mode.",
           "Covered are the modes with `counts >= 0.1 * len(x) / len(modes)`; the share of good points is "
           "`good.float().mean().item()`."],
    observe=observe_coverage, solution=solve_coverage, others=[coverage_mode_by_mode], use=coverage,
    wrong=[
        Wrong(wrong_coverage(power=2),
              "this compares the *squared* distance with 3 sigma, so points up to 0.39 away are good instead of 0.15. "
              "Take the root, or square both sides."),
        Wrong(wrong_coverage(radius=1.),
              "this asks for one standard deviation. In the plane only 39 % of the data lie so near; the rule says "
              "three."),
        Wrong(wrong_coverage(least=0.),
              "here a single good point covers a mode, which is the rule of the paper. We ask for a tenth of the fair "
              "share N/K, because one stray point is luck."),
        Wrong(wrong_coverage(everything=True),
              "this counts all points at their nearest mode, good or not. Every point has a nearest mode, so noise "
              "would cover everything: count the good ones only."),
        Wrong(wrong_coverage(least=1.),
              "this asks for the whole fair share N/K. By chance about half of the modes have fewer points than that, "
              "even in the data; a tenth is enough."),
        Wrong(wrong_coverage(of_good=True),
              "the fair share is taken of the *good* points. It is N/K with all N generated points; otherwise a "
              "generator with nine good points in each mode and hundreds astray would pass."),
        Wrong(lambda x, m, sigma=.05: (solve_coverage(x, m, sigma)[0], solve_coverage(x, m, sigma)[1] * len(x)),
              "the second number is how many points are good. The share is asked for: divide by N."),
        Wrong(lambda x, m, sigma=.05: (solve_coverage(x, m, sigma)[0] / len(m), solve_coverage(x, m, sigma)[1]),
              "the first number is the share of modes covered. Their number is asked for, 0 to K."),
        Wrong(lambda x, m, sigma=.05: solve_coverage(x, m, sigma)[::-1],
              "both numbers are right, but in the wrong order: first the modes, then the share of good points."),
    ],
    otherwise="three steps: the distance of each point to its nearest mode, which points are good, and how many good "
              "points each mode has.",
    because="Quality and variety are two numbers: a generator can be perfect in one and hopeless in the other.")

# --- 02.3 to 02.6: predictions, and a diagnosis; answers are read leniently

def observe_letter(answer, dice):
    """A letter, also as "(c)"."""
    yield "your answer", str(answer).strip(" ().")


def observe_signs(answer, dice):
    """Two signs, with or without blanks between them."""
    yield "your answer", "".join(str(answer).split())


def observe_digits(answer, dice):
    """Three digits, also as a number or with commas."""
    yield "your answer", "".join(c for c in str(answer) if c.isdigit())


TREND = Exercise(
    "02.3", "Where D's losses go", minutes=4, difficulty=2,
    hints=["Two things change D's losses: D learns, which lowers them, and the fakes become more like the data.",
           "When generated points and data can no longer be told apart, what is the best that D can answer?",
           "The best D says ½ where both are equally frequent. What are its two losses there, together?"],
    observe=observe_letter, solution="c",
    wrong=[
        Wrong("a", "D learns, but its task becomes harder while G gets better. Losses near 0 would say that every "
                   "fake is still found out."),
        Wrong("b", "this is what one often reads, and it is true of G's loss alone. The sum of D's losses has a trend "
                   "beneath its swings: think of what D can still tell apart at the end."),
        Wrong("d", "a D with a loss far beyond 1.386 would be worse than one that always says ½, and its own steps "
                   "would bring it back to that."),
        Wrong("1.386", "that is where it tends to; answer by the letter of this possibility."),
    ],
    otherwise="answer by one letter in quotation marks, from \"a\" to \"d\".",
    because="D's loss is low while fakes and data differ, and 2 log 2 = 1.386 when they do not. A D that keeps up "
            "shows by its losses how much is left to tell apart.")

SIGNS = Exercise(
    "02.4", "A faster D", minutes=3, difficulty=2,
    hints=["Modes and good points are two numbers, and they need not move together.",
           "A D that is fast and sure makes long arrows. Do the points stay spread out if they are thrown far?",
           "Points that have collapsed into few modes lie well inside them, for nothing is torn between many."],
    observe=observe_signs, solution="-+", others=["- +"],
    wrong=[
        Wrong("++", "this expects that a better D makes a better G. It does, for single points; but G has to keep up "
                    "with what D says, and it loses the modes that it leaves."),
        Wrong("--", "right about the modes. The points that remain are *better*, though: fewer of them lie between "
                    "modes when there are fewer modes to serve."),
        Wrong("+-", "it is the other way round: fewer modes and better points. A collapsed generator looks good "
                    "sample by sample."),
        Wrong("-", "this is one sign. Give two: first the modes, then the good points."),
    ],
    otherwise="answer by two signs in quotation marks, for example \"++\": first the modes, then the good points.",
    because="Collapse costs variety and may improve quality, so anyone who judged by a few good samples would choose "
            "the collapsed game.")

SHAPE = Exercise(
    "02.5", "One latent number", minutes=3, difficulty=2,
    hints=["A network is a continuous function: two latents that are close give two points that are close.",
           "Move the latent slowly from -3 to 3. The point moves without a jump. How does it get from one mode to the "
           "next?"],
    observe=observe_letter, solution="b", others=["(b)"],
    wrong=[
        Wrong("a", "separate clusters need a jump between two of them, and a continuous function of one number has "
                   "none: what lies between two modes is generated as well."),
        Wrong("c", "G maps different latents to different points. A line has no area, but it has length, and it can "
                   "be bent through all of the plane."),
        Wrong("d", "one latent number does not make this game collapse: D still sees which modes nobody visits, and "
                   "the line is drawn there."),
        Wrong("thread", "that is the shape; answer by its letter."),
    ],
    otherwise="answer by one letter in quotation marks, from \"a\" to \"d\".",
    because="A line can be bent and stretched, never cut.")

DIAGNOSIS = Exercise(
    "02.6", "Three patients", minutes=6, difficulty=3,
    hints=["First the level: is the sum of D's losses low, near 1.386, or beyond? Low means that D tells fakes from "
           "data.",
           "Then the arrows: where D is right, do they still pull at G, or are they gone?",
           "A swings about a level and never settles. C has a D that is right, and next to no arrows. E lies on the "
           "gray line and is calm."],
    observe=observe_digits, solution="563", others=[563, "5, 6, 3"],
    wrong=[
        Wrong("463", "A swings, but within limits. Learning rates that are too high look like patient D, whose losses "
                     "leave the picture."),
        Wrong("523", "D is right in C, as it is in B. But look at the arrows: a G that is too slow is still told "
                     "where to go, and in C next to nothing is left of the arrows."),
        Wrong("513", "D is right in C, and a collapse has that, too. But look at the arrows: in a collapse they are "
                     "long, and in C next to nothing is left of them."),
        Wrong("561", "in a collapse D is sure of the modes that nobody serves, so its sum is low. In E the sum lies "
                     "on the gray line: D tells nothing apart."),
        Wrong("536", "C and E are exchanged. Both have short arrows; but D is right in C, and has no opinion in E."),
        Wrong("565", "E is the calmest of all patients: its sum lies on the gray line. An oscillation swings."),
        Wrong("653", "A and C are exchanged: it is A that swings without end, and C whose arrows are gone."),
    ],
    otherwise="give three digits, for A, C and E. For each ask whether D is right, and whether the "
              "arrows are long.",
    because="A: all curves swing and nothing settles. C: D is right, and the arrows are nearly gone. E: D has hardly "
            "learned, so its losses are those of a blind D and its arrows are short.")

LESSON = Lesson("02", "The first GAN", [TRAIN, COVERAGE, TREND, SIGNS, SHAPE, DIAGNOSIS])
