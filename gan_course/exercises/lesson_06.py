"""Exercises of lesson 06: the loop, its two steps, the average, the curves."""
import copy

import torch
import torch.nn.functional as F
from torch import nn

from ..steps import d_step, ema_update, g_step
from ._judge import Exercise, Lesson, Wrong
from ._two_steps import (
    d_step_in_numbers,
    d_step_that,
    g_step_by_names,
    g_step_that,
    g_step_with_backward_outside,
    images,
    latents,
    observe_d_step,
    observe_g_step,
    players,
    solve_d_step,
    solve_g_step,
    weights,
)

# --- 06.1

bce = F.binary_cross_entropy_with_logits


def observe_epoch(answer, dice):
    """The weights of both after one batch and after three, from the same beginning."""
    G, D = players(dice)
    batches = [(images(dice), latents(dice)) for _ in range(3)]
    for n, said in (1, "one batch"), (3, "three batches"):
        g, d = copy.deepcopy(G), copy.deepcopy(D)
        answer(g, d, torch.optim.SGD(g.parameters(), .1), torch.optim.SGD(d.parameters(), .1), batches[:n])
        yield f"the weights of D after {said}", weights(d)
        yield f"the weights of G after {said}", weights(g)


def solve_epoch(G, D, opt_g, opt_d, batches):
    for real, z in batches:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        fake = G(z)

        d_loss = bce(D(real), ones) + bce(D(fake.detach()), zeros)  # D's step
        opt_d.zero_grad()
        d_loss.backward()
        opt_d.step()

        g_loss = bce(D(fake), ones)  # G's step
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()
    return d_loss.item(), g_loss.item()


def epoch_with_fakes_made_anew(G, D, opt_g, opt_d, batches):
    for real, z in batches:
        with torch.no_grad(): fake = G(z)
        D.zero_grad()
        (F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()).backward()
        opt_d.step()
        G.zero_grad()
        F.softplus(-D(G(z))).mean().backward()
        opt_g.step()


def epoch_with_d_frozen(G, D, opt_g, opt_d, batches):
    for real, z in batches:
        fake, label = G(z), torch.ones(len(z))
        opt_d.zero_grad()
        bce(D(real), label).backward()
        bce(D(fake.detach()), 1 - label).backward()
        opt_d.step()
        D.requires_grad_(False)
        opt_g.zero_grad()
        bce(D(fake), label).backward()
        opt_g.step()
        D.requires_grad_(True)


def wrong_epoch(d_cut=True, d_labels=(1, 0), d_zero=True, g_cut=False, g_label=1, g_sign=1, g_zero=True,
                d_moves_again=False, g_first=False):
    """A loop with one thing in it that is wrong."""
    def epoch(G, D, opt_g, opt_d, batches):
        def move_d(real, fake):
            one, two = (torch.full((len(real),), float(x)) for x in d_labels)
            if d_zero: opt_d.zero_grad()
            (bce(D(real), one) + bce(D(fake.detach() if d_cut else fake), two)).backward()
            opt_d.step()

        def move_g(fake):
            if g_zero: opt_g.zero_grad()
            label = torch.full((len(fake),), float(g_label))
            (g_sign * bce(D(fake.detach() if g_cut else fake), label)).backward()
            opt_g.step()
            if d_moves_again: opt_d.step()

        for real, z in batches:
            fake = G(z)
            if g_first: move_g(fake)
            move_d(real, fake)
            if not g_first: move_g(fake)
    return epoch


LOOP = Exercise(
    "06.1", "A loop of twenty lines", minutes=12, difficulty=2,
    hints=["Each step is four lines: the loss, `zero_grad`, `backward`, `step`. You have written them for points in "
           "lessons 00 and 02.",
           "D's loss is `bce(D(real), ones) + bce(D(fake.detach()), zeros)`, with `ones = torch.ones(len(real))` and "
           "`zeros` likewise.",
           "G's loss is `bce(D(fake), ones)` without `detach`, and after its `backward` only `opt_g` takes a step."],
    observe=observe_epoch, solution=solve_epoch, others=[epoch_with_fakes_made_anew, epoch_with_d_frozen],
    wrong=[
        Wrong(wrong_epoch(d_cut=False),
              "PyTorch refuses a backward pass. D's `backward` went on through the fakes into G and freed G's graph, "
              "which G's own step needs. Cut it in D's step: `D(fake.detach())`."),
        Wrong(wrong_epoch(g_cut=True),
              "G never moves: its fakes are detached in its own step, so the gradient ends at the pixels. `detach` "
              "belongs to D's step."),
        Wrong(wrong_epoch(d_labels=(0, 1)),
              "D learns the wrong names: real images have the label 1, fakes the label 0."),
        Wrong(wrong_epoch(g_label=0),
              "G helps D: with the label 0 its loss is small where its images are seen through. G wants the label 1."),
        Wrong(wrong_epoch(g_label=0, g_sign=-1),
              "this is the minimax loss, whose gradient vanishes while D is sure (lesson 01). Take the label 1 instead "
              "of a minus sign."),
        Wrong(wrong_epoch(d_zero=False),
              "D's gradients add up: those of its last step and those that G's `backward` leaves in D on its way. "
              "Call `opt_d.zero_grad()` before D's `backward`."),
        Wrong(wrong_epoch(g_zero=False),
              "G's gradients add up over the batches. Call `opt_g.zero_grad()` before G's `backward`."),
        Wrong(wrong_epoch(d_moves_again=True),
              "`opt_d` takes a step after G's `backward`, too, and moves D so that it takes fakes for real. In G's "
              "step only G's optimiser may act."),
        Wrong(wrong_epoch(g_first=True),
              "G moves first, against a D that has not seen these fakes. D's step comes first, and G answers the new "
              "D."),
    ],
    otherwise="compare the weights that move: in D's step all of D and nothing of G, in G's step all of G and nothing "
              "of D.",
    because="D's loss cuts the fakes off, so its gradient ends in D; G's loss goes through D, but only G's optimiser "
            "acts on it. What it leaves in D's gradients is cleared by the next `opt_d.zero_grad()`.")

# --- 06.2

CHANGES = Exercise(
    "06.2", "Four changed loops", minutes=5, difficulty=2,
    hints=["Ask of each change: which gradients does it touch, and is anything read from them before the next "
           "`zero_grad`?",
           "1: D's `backward` frees the graph that it passes through, G's part included. 2: the same, but G's step has "
           "a graph of its own.",
           "3: G's `backward` leaves gradients in D. Without D's `zero_grad` they are added to D's next step. 4: "
           "nobody reads D's gradients between G's `backward` and the next `opt_d.zero_grad()`."],
    solution="csds",
    wrong=[
        Wrong("ssds", "change 1 does not run: G's step wants to go back through a graph that D's `backward` has freed, "
                      "since both use the same `fake`."),
        Wrong("cdds", "in change 2 D's loss fills G's gradients, but `opt_g.zero_grad()` clears them before G's own "
                      "`backward`. It costs time and moves nothing."),
        Wrong("csss", "change 3 matters: the gradients of D's last step and those that G's step left in D are added "
                      "to the new ones."),
        Wrong("csdd", "change 4 matters for the clock only. G's `backward` does leave gradients in a D that is not "
                      "frozen, but `opt_d.zero_grad()` clears them before anybody reads them."),
        Wrong("dddd", "look for who reads a gradient: an optimiser sees only what came after its own `zero_grad`. And "
                      "change 1 does not even run."),
        Wrong("ssss", "change 1 stops with an error, since the graph of `fake` is freed, and in change 3 D's gradients "
                      "add up."),
    ],
    otherwise="four letters in the order of the changes, each c, s or d: does it run, and does an optimiser see other "
              "gradients?",
    because="1 crashes: one graph, two backward passes. 2 and 4 leave gradients where nobody reads them before they "
            "are cleared. 3 adds up gradients of two players.")

# --- 06.3

D_STEP = Exercise(
    "06.3", "The discriminator's step", minutes=10, difficulty=3,
    hints=["The middle is D's step of your loop; new are `loss.d(real_logits, fake_logits)`, which returns both "
           "losses, and the four numbers that are returned.",
           "Call D twice, once on `real` and once on `fake.detach()`: each batch has statistics of its own.",
           "`(real_logits > loss.threshold).float().mean()` is the accuracy on real images; of the fakes those are "
           "right that do *not* lie above. Detach the losses before you return them."],
    observe=observe_d_step, solution=solve_d_step, others=[d_step_in_numbers], use=d_step,
    wrong=[
        Wrong(d_step_that(cut=False),
              "a gradient has reached G. D's loss concerns D alone: detach the fakes."),
        Wrong(d_step_that(swap=True),
              "the labels are swapped: D learns to call fakes real. `loss.d` takes the logits of the real images "
              "first."),
        Wrong(d_step_that(zero=False),
              "old gradients are added to the new ones, among them those that G's step left in D. Begin with "
              "`opt_d.zero_grad()`."),
        Wrong(d_step_that(half=True),
              "this halves D's loss, a mean of its two parts where the formula has their sum. Adam hardly notices, "
              "but plain gradient descent takes half a step, and a penalty that is added counts twice."),
        Wrong(d_step_that(joint=True),
              "real and fake went through D as one batch, so batch norm mixed their statistics. By the statistics "
              "alone D can tell two batches apart; in one batch it cannot. Call D twice."),
        Wrong(d_step_that(evaluates=True),
              "D was in eval mode, where batch norm uses its running statistics. A training step uses those of the "
              "batch, and moves the running ones."),
        Wrong(d_step_that(threshold=0.),
              "an accuracy is off for one of the losses: least squares aims at 1 and 0, so its border is ½. Compare "
              "with `loss.threshold`."),
        Wrong(d_step_that(tie=True),
              "a logit exactly at the threshold counts as fake here. Otherwise a D that says nothing at all would be "
              "right on every real image."),
        Wrong(d_step_that(fooled=True),
              "`d_acc_fake` is the share of fakes that D sees through, so those at or below the threshold; you count "
              "those that fool it."),
        Wrong(d_step_that(graph=True),
              "the losses that you return still carry their graph. Whoever collects them over an epoch keeps all "
              "activations in memory: return `loss_real.detach()`."),
    ],
    otherwise="four parts: logits of both batches, the two losses, one step of `opt_d`, and the four numbers.",
    because="The fakes are detached, so the gradient ends in D. Each batch passes D on its own, and the accuracies are "
            "taken from the same logits: they tell how D stood *before* this step.")

# --- 06.4

G_STEP = Exercise(
    "06.4", "The generator's step", minutes=8, difficulty=2,
    hints=["`with frozen(D):` around the pass through D and its `backward`; after the block D is as it was.",
           "G's loss is `loss.g(D(fake))`. No `detach` here: the gradient has to come back to G.",
           "Inside the block: g_loss, `opt_g.zero_grad()`, `g_loss.backward()`. Then `opt_g.step()`, and return "
           "`dict(g_loss=g_loss.detach())`."],
    observe=observe_g_step, solution=solve_g_step, others=[g_step_by_names], use=g_step,
    wrong=[
        Wrong(g_step_that(cut=True),
              "G does not move by this gradient: the fakes are detached, so it ends at the pixels. Here it has to go "
              "on into G."),
        Wrong(g_step_that(freezes=False),
              "D is not as it was: its running statistics have moved, and its weights hold gradients. Put the pass "
              "into `with frozen(D):`."),
        Wrong(g_step_with_backward_outside,
              "PyTorch refuses the backward pass. When the block ends, `frozen` puts D's statistics back, and the "
              "graph still points to them: let `backward` stand inside the block."),
        Wrong(g_step_that(weights_only=True),
              "D's weights rest, but its running statistics have moved: a pass in train mode moves them. `frozen(D)` "
              "puts them back."),
        Wrong(g_step_that(stays_frozen=True),
              "D cannot learn any more: its weights were switched off and never on again. `frozen(D)` puts that back "
              "as well, even after an error."),
        Wrong(g_step_that(evaluates=True),
              "D was in eval mode, so G learned from another function than the one that D has trained. Leave D in "
              "train mode; `frozen` puts its statistics back."),
        Wrong(g_step_that(minimax=True),
              "this is minus D's loss on the fakes, the minimax loss, whose gradient vanishes while D is sure. "
              "`loss.g` knows which loss G has."),
        Wrong(g_step_that(zero=False),
              "old gradients are added to the new ones. Call `opt_g.zero_grad()` before `backward`."),
        Wrong(g_step_that(freezes=False, d_moves=True),
              "D's weights have moved in G's step, towards taking fakes for real. Only `opt_g` may take a step."),
    ],
    otherwise="the loss through a frozen D, its gradient into G, one step of `opt_g`, and D as it was before.",
    because="The gradient passes through D without stopping there: D's weights are switched off, and its running "
            "statistics are put back, so that only D's own step moves D.")

# --- 06.5


def observe_ema(answer, dice):
    """Several updates; what became of weights, running statistics and counters, and of G."""
    G, ema = (players(dice)[0] for _ in range(2))
    first = [id(p) for p in ema.parameters()]
    for b in (*G.buffers(), *ema.buffers()):
        if b.is_floating_point(): b.copy_(torch.rand(b.shape, generator=dice) + .5)
        else: b.fill_(int(torch.randint(9, 99, (1,), generator=dice)))

    def counters(net): return [b.item() for b in net.buffers() if not b.is_floating_point()]
    def running(net): return torch.cat([b.flatten() for b in net.buffers() if b.is_floating_point()])
    g_before = torch.cat([weights(G).detach(), running(G)]).clone()
    for decay in (.9, .99, 0.):
        answer(ema, G, decay)
        yield f"the weights of the average, decay {decay}", weights(ema)
        yield f"its running statistics, decay {decay}", running(ema)
        yield "its counters of batches", counters(ema)
        yield "whether its parameters are the same objects", [id(p) for p in ema.parameters()] == first
        yield "whether a weight of it carries a graph", any(p.grad_fn is not None for p in ema.parameters())
        yield "how far G has moved", (torch.cat([weights(G).detach(), running(G)]) - g_before).abs().max()
        with torch.no_grad():
            for p in ema.parameters(): p.add_(torch.randn(p.shape, generator=dice))


@torch.no_grad()
def solve_ema(ema, G, decay):
    for average, value in zip(ema.parameters(), G.parameters(), strict=True):
        average.mul_(decay).add_(value, alpha=1 - decay)
    for average, value in zip(ema.buffers(), G.buffers(), strict=True):
        if average.is_floating_point(): average.mul_(decay).add_(value, alpha=1 - decay)
        else: average.copy_(value)


def ema_by_names(ema, G, decay):
    new = G.state_dict()
    for name, average in ema.state_dict().items():
        average.copy_(decay * average + (1 - decay) * new[name] if average.is_floating_point() else new[name])


def ema_by_loading(ema, G, decay):
    old, new = ema.state_dict(), G.state_dict()
    ema.load_state_dict({k: torch.lerp(new[k], old[k], decay) if v.is_floating_point() else new[k]
                         for k, v in old.items()})


def ema_that(swapped=False, buffers="averaged", counters=True, rebinds=False, graph=False, new=False, into_g=False):
    """An average with one thing in it that is wrong."""
    def update(ema, G, decay):
        keep, take = (1 - decay, decay) if swapped else (decay, 1 - decay)
        if graph:
            for average, value in zip(ema.parameters(), G.parameters(), strict=True):
                average.mul_(keep).add_(take * value)
        with torch.no_grad():
            for average, value in zip(ema.parameters(), G.parameters(), strict=True):
                if rebinds: average = keep * average + take * value
                elif into_g: value.copy_(keep * average + take * value)
                else: average.copy_(keep * average + take * value)
            if new:
                for layer in ema.modules():
                    for name, p in list(layer.named_parameters(recurse=False)):
                        setattr(layer, name, nn.Parameter(p.clone()))
            for average, value in zip(ema.buffers(), G.buffers(), strict=True):
                if not average.is_floating_point():
                    if counters: average.copy_(value)
                elif buffers == "copied": average.copy_(value)
                elif buffers == "averaged" and not rebinds: average.copy_(keep * average + take * value)
    return update


EMA = Exercise(
    "06.5", "The average of the generator", minutes=8, difficulty=2,
    hints=["Two loops, one over `zip(ema.parameters(), G.parameters())` and one over `zip(ema.buffers(), "
           "G.buffers())`, under `torch.no_grad()`.",
           "Change the average in place: `average.mul_(decay).add_(value, alpha=1 - decay)`. A plain `average = …` "
           "only gives a new tensor the old name.",
           "Among the buffers are whole numbers, which count batches: `average.copy_(value)` for those that are not "
           "`is_floating_point()`."],
    observe=observe_ema, solution=solve_ema, others=[ema_by_names, ema_by_loading], use=ema_update,
    wrong=[
        Wrong(ema_that(swapped=True),
              "the weights of the mean are swapped: β belongs to the old average, 1 - β to G. With β = 0.999 yours is "
              "a copy of the last G."),
        Wrong(ema_that(buffers="left", counters=False),
              "the buffers are left as they were. Averaged weights with old running statistics can give other "
              "colours: batch norm divides by numbers of another network."),
        Wrong(ema_that(buffers="copied"),
              "the running statistics are copied from G. They belong to G's weights of this moment; averaged weights "
              "want averaged statistics."),
        Wrong(ema_that(counters=False),
              "the counters of batches are left behind. They are whole numbers, which are copied instead of averaged."),
        Wrong(ema_that(rebinds=True),
              "nothing has changed: `average = …` makes a new tensor and forgets it. Write into the old one, with "
              "`copy_`, `lerp_` or `mul_` and `add_`."),
        Wrong(ema_that(graph=True),
              "PyTorch refuses this change. Most often `torch.no_grad()` is missing, since weights that learn may not "
              "be changed in place under its eyes; or a whole number met a fraction."),
        Wrong(ema_that(new=True),
              "the numbers are right, but the parameters are new objects, and whoever holds the old ones (an "
              "optimiser, a second process) is left with them. Write into the old ones."),
        Wrong(ema_that(into_g=True),
              "you have changed G. The average follows G; G must know nothing of it."),
    ],
    otherwise="ema ← β·ema + (1 - β)·G in place, for weights and running statistics; counters are copied.",
    because="With β = 0.9 each update goes a tenth of the way to G. Running statistics belong to the weights and are "
            "averaged with them; a counter of batches is a whole number and is copied.")

# --- 06.6

CURVES = Exercise(
    "06.6", "Four runs, and which of them are ill", minutes=6, difficulty=2,
    hints=["Where would the two curves be if D only guessed? The sum of D's losses at 2 log 2, and G's loss at log 2.",
           "A D that always wins has a sum near 0, and G's loss grows. A D that is misled by every fake has a sum far "
           "above 2 log 2.",
           "Two of the four have curves of a game that goes on: at the end D's sum lies between 0 and 2 log 2, and "
           "G's loss between 2 and 4, without running away."],
    solution="snwn",
    wrong=[
        Wrong("wnsn", "strong and weak are turned round. In A D's losses are almost 0: it is always right, so it is "
                      "strong. In C their sum is far above 2 log 2: the fakes mislead it."),
        Wrong("snns", "in C D's sum is far above 2 log 2, where guessing would be: it takes fakes for real."),
        Wrong("nnwn", "A is no even game: D's losses are almost 0, and G's loss grows from epoch to epoch."),
        Wrong("snnn", "C is no even game: D's sum is far above 2 log 2, so it does worse than guessing, and G's loss "
                      "is almost 0."),
        Wrong("swwn", "in B D's sum comes down below 2 log 2 and stays there: D does better than guessing, though "
                      "less so than in run D."),
        Wrong("nnnn", "A and C are ill: there one player always wins."),
    ],
    otherwise="four letters, for A to D, each s, w or n. Compare the sum of D's losses with 0 and with 2 log 2.",
    because="A: G's learning rate is far too low, and D wins. C: D's is, and its fakes mislead it. B and D look alike, "
            "and yet the learning rates of B are fifty times those of D: the curves do not tell.")

LESSON = Lesson("06", "Training", [LOOP, CHANGES, D_STEP, G_STEP, EMA, CURVES])
