"""Exercises of lesson 00: a quiz, the first GAN, and pixels."""
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from ..core import seeded, to_uint8
from ._judge import Exercise, Lesson, Wrong

# --- real or fake?

ENOUGH = 15  # of twenty; whoever guesses gets so far in 2 of 100 trials
KEY = "".join("f" if i >= 10 else "r" for i in torch.randperm(20, generator=seeded(4)).tolist())  # as in the lesson


def verdict_on(letters):
    """How good twenty letters are, in a word or two."""
    letters = "".join(map(str, letters)) if isinstance(letters, list | tuple) else str(letters)
    letters = "".join(letters.lower().split())
    if len(letters) != 20 or set(letters) - {"r", "f"}: return "not twenty letters"
    if len(set(letters)) == 1: return "one letter only"
    right = sum(a == b for a, b in zip(letters, KEY, strict=True))
    return "turned round" if right <= 20 - ENOUGH else "enough" if right >= ENOUGH else "near chance"


def observe_quiz(answer, dice):
    """The number of right letters, coarsely: nobody is asked for twenty of twenty."""
    yield "your twenty letters", verdict_on(answer)


def with_changed(*positions):
    """The key, with some letters turned round."""
    return "".join({"r": "f", "f": "r"}[a] if i in positions else a for i, a in enumerate(KEY))


QUIZ = Exercise(
    "00.1", "Real or fake?", minutes=2, difficulty=1,
    hints=["A real bird has one head with one eye and one beak, one tail, two legs, and a dark outline all around.",
           "Look for two heads, colours that run into each other, and bodies that fade into the background."],
    observe=observe_quiz, solution=KEY, others=[with_changed(3), with_changed(0, 5, 9, 14, 19), list(KEY)],
    wrong=[
        Wrong(KEY.translate(str.maketrans("rf", "fr")),
              "you see the difference, but nearly all letters are turned round: r stands for real, f for fake."),
        Wrong("r" * 20, "all letters are the same, which is right ten times whatever the pictures show. Ten are "
                        "real, ten are generated: decide for each picture."),
        Wrong(KEY[:10], "give twenty letters, r or f, one for each picture in the order of the numbers; blanks "
                        "between them do no harm."),
        Wrong(with_changed(*range(0, 18, 2)), "fewer than fifteen are right, which is not far from guessing. Look at "
                                              "the details: heads, outlines, legs."),
    ],
    because="The letters of the ten generated pictures are f. A real bird has one head and a closed outline.")


# --- a GAN on the line: the players of the lesson, for trying the steps

class Shift(nn.Module):
    """G: moves noise by one weight."""

    def __init__(self, shift=0.):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([float(shift)]))

    def forward(self, z): return z + self.shift  # (B,) → (B,)


class Line(nn.Module):
    """D: a straight line, two weights."""

    def __init__(self, a=0., b=0.):
        super().__init__()
        self.line = nn.Parameter(torch.tensor([float(a), float(b)]))

    def forward(self, x): return self.line[0] + self.line[1] * x  # (B,) → (B,) logits


def players(dice):
    """G and D at random places, and their optimisers."""
    shift, a, b = torch.randn(3, generator=dice).tolist()
    G, D = Shift(shift), Line(a, b)
    return G, D, torch.optim.SGD(G.parameters(), .5), torch.optim.SGD(D.parameters(), .5)


def draw(dice):
    """Real points and noise."""
    return 3 + torch.randn(64, generator=dice), torch.randn(64, generator=dice)


def observe_d_step(step, dice):
    """Two steps, and one after a step of G has left gradients in D."""
    G, D, _, opt_d = players(dice)
    before = G.shift.detach().clone()
    step(G, D, opt_d, *draw(dice))
    yield "D's two weights after one step", D.line
    yield "how far G has moved in D's step", G.shift - before
    yield "does a gradient reach G?", "no" if G.shift.grad is None else "yes"
    step(G, D, opt_d, *draw(dice))
    yield "D's two weights after a second step", D.line
    G, D, _, opt_d = players(dice)
    D(G(torch.randn(64, generator=dice))).mean().backward()  # as G's step does: the gradient passes through D
    G.shift.grad = None
    step(G, D, opt_d, *draw(dice))
    yield "D's two weights, where G's step had left a gradient in them", D.line


def solve_d_step(G, D, opt_d, real, z):
    fake = G(z).detach()
    loss = bce(D(real), torch.ones_like(real)) + bce(D(fake), torch.zeros_like(fake))
    opt_d.zero_grad()
    loss.backward()
    opt_d.step()


def d_step_by_softplus(G, D, opt_d, real, z):
    with torch.no_grad(): fake = G(z)
    opt_d.zero_grad()
    (F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()).backward()
    opt_d.step()


def d_step_in_two_halves(G, D, opt_d, real, z):
    D.zero_grad()
    bce(D(real), torch.ones(len(real))).backward()
    bce(D(G(z).detach()), torch.zeros(len(z))).backward()
    opt_d.step()


def one_step(opt, loss, clear="before"):
    """What wrong answers share: where the gradients are cleared is one of the mistakes."""
    if clear == "before": opt.zero_grad()
    loss.backward()
    opt.step()
    if clear == "after": opt.zero_grad()


def d_loss(G, D, real, z, labels=(1., 0.)):
    """The sum of both halves, with these labels."""
    real_logits, fake_logits = D(real), D(G(z).detach())
    return bce(real_logits, torch.full_like(real, labels[0])) + bce(fake_logits, torch.full_like(z, labels[1]))


def d_step_without_detach(G, D, opt_d, real, z):
    one_step(opt_d, bce(D(real), torch.ones_like(real)) + bce(D(G(z)), torch.zeros_like(z)))


def d_step_of_probabilities(G, D, opt_d, real, z):
    p_real, p_fake = D(real).sigmoid(), D(G(z).detach()).sigmoid()
    one_step(opt_d, bce(p_real, torch.ones_like(real)) + bce(p_fake, torch.zeros_like(z)))


def d_step_on_noise(G, D, opt_d, real, z):
    one_step(opt_d, bce(D(real), torch.ones_like(real)) + bce(D(z), torch.zeros_like(z)))


def d_stays(G, D, opt_d, real, z):
    D(real)


D_STEP = Exercise(
    "00.2", "A step of the discriminator", minutes=4, difficulty=2,
    hints=["G(z) hangs on G's weight. `.detach()` gives the same numbers without that connection.",
           "bce(D(real), torch.ones_like(real)) is the half with the real points; the other half has the label 0.",
           "Three lines end every step: opt_d.zero_grad(), loss.backward(), opt_d.step()."],
    observe=observe_d_step, solution=solve_d_step, others=[d_step_by_softplus, d_step_in_two_halves],
    wrong=[
        Wrong(d_step_without_detach,
              "D moves as it should, but a gradient reaches G as well, because G(z) still hangs on G's weight. D "
              "treats the fakes as given numbers: detach them."),
        Wrong(lambda G, D, o, real, z: one_step(o, d_loss(G, D, real, z, (0., 1.))),
              "the labels are swapped, so D learns to give real points low logits. Real has the label 1, fake 0."),
        Wrong(lambda G, D, o, real, z: one_step(o, d_loss(G, D, real, z), clear="never"),
              "the first step is right, the second adds its gradient to that of the first. PyTorch sums gradients "
              "until somebody clears them: opt_d.zero_grad() before backward()."),
        Wrong(lambda G, D, o, real, z: one_step(o, d_loss(G, D, real, z), clear="after"),
              "the gradients are cleared after the step. But G's step sends its gradient through D and leaves some "
              "there: clear them before backward()."),
        Wrong(lambda G, D, o, real, z: one_step(o, bce(D(real), torch.ones_like(real))),
              "only the real points are in the loss. A D that never sees a fake learns to call everything real: add "
              "the half with the label 0."),
        Wrong(lambda G, D, o, real, z: one_step(o, d_loss(G, D, real, z, (1., 1.))),
              "both halves have the label 1, so D learns to call the fakes real, which is G's wish. Their label is 0."),
        Wrong(lambda G, D, o, real, z: one_step(o, d_loss(G, D, real, z) / 2),
              "this is the mean of the two halves, the task asks for their sum: your step is half as long. Many "
              "programs do so, and it is the same as half the learning rate."),
        Wrong(d_step_of_probabilities,
              "the sigmoid is taken twice. This bce works on logits, as its long name says, and D returns logits."),
        Wrong(d_step_on_noise,
              "the fakes are missing: this D sees the noise itself, which never reaches it in the game. The fakes are "
              "G(z)."),
        Wrong(d_stays,
              "D has not moved. Either opt_d.step() is missing, or zero_grad() stands between backward() and step()."),
    ],
    otherwise="go through the five things a step does: fakes without connection to G, logits of both kinds, the loss "
              "with labels 1 and 0, gradients cleared and computed, one move of the optimiser.",
    because="D is trained like any classifier with two classes. The detach keeps its step from touching G, and "
            "zero_grad() stands first, because G's step leaves gradients in D.")


def observe_g_step(step, dice):
    """Two steps at a random place, and one where D is sure."""
    G, D, opt_g, _ = players(dice)
    line = D.line.detach().clone()
    step(G, D, opt_g, draw(dice)[1])
    yield "G's shift after one step", G.shift
    yield "how far D's weights have moved in G's step", D.line - line
    step(G, D, opt_g, draw(dice)[1])
    yield "G's shift after a second step", G.shift
    G, D = Shift(0.), Line(-9., 3.)
    step(G, D, torch.optim.SGD(G.parameters(), .5), draw(dice)[1])
    yield "G's shift after a step where D is sure that the fakes are fake", G.shift


def solve_g_step(G, D, opt_g, z):
    loss = bce(D(G(z)), torch.ones_like(z))
    opt_g.zero_grad()
    loss.backward()
    opt_g.step()


def g_step_by_softplus(G, D, opt_g, z):
    G.zero_grad()
    F.softplus(-D(G(z))).mean().backward()
    opt_g.step()


def g_step_by_logsigmoid(G, D, opt_g, z):
    loss = -F.logsigmoid(D(G(z))).mean()
    loss.backward()
    opt_g.step()
    opt_g.zero_grad()


def g_step_that_moves_d(G, D, opt_g, z):
    loss = bce(D(G(z)), torch.ones_like(z))
    both = torch.optim.SGD([*G.parameters(), *D.parameters()], opt_g.param_groups[0]["lr"])
    one_step(both, loss)


def g_stays(G, D, opt_g, z):
    D(G(z).detach())


G_STEP = Exercise(
    "00.3", "A step of the generator", minutes=2, difficulty=2,
    hints=["G wants D to take its points for real. Which label says so?",
           "The gradient has to pass through D into G: no detach here. Only G's optimiser moves.",
           "loss = bce(D(G(z)), torch.ones_like(z)), then zero_grad, backward, step of opt_g."],
    observe=observe_g_step, solution=solve_g_step, others=[g_step_by_softplus, g_step_by_logsigmoid],
    wrong=[
        Wrong(lambda G, D, o, z: one_step(o, -bce(D(G(z)), torch.zeros_like(z))),
              "this raises D's loss, as the definition of the game has it (minimax). Its gradient vanishes where D "
              "is sure that the fakes are fake, which is where G needs it most. Lower the loss with the label 1 "
              "instead."),
        Wrong(lambda G, D, o, z: one_step(o, bce(D(G(z)), torch.zeros_like(z))),
              "with the label 0 G learns to be found out: it moves its points to where D's logit is low."),
        Wrong(g_stays,
              "G has not moved. A detach cuts it off from D's answer, and so does a loss without G(z), or a missing "
              "backward() or step()."),
        Wrong(lambda G, D, o, z: one_step(o, bce(D(G(z)), torch.ones_like(z)), clear="never"),
              "the first step is right, the second adds its gradient to that of the first: opt_g.zero_grad()."),
        Wrong(g_step_that_moves_d,
              "D's weights have moved too. A D that helps G to be believed is no opponent any more: only G's "
              "optimiser takes a step here."),
        Wrong(lambda G, D, o, z: one_step(o, -D(G(z)).mean()),
              "this raises the logit itself, without cross-entropy. It is the loss of another game, Wasserstein's, "
              "which lesson 01 builds; here G lowers bce with the label 1."),
        Wrong(lambda G, D, o, z: one_step(o, bce(D(G(z)).sigmoid(), torch.ones_like(z))),
              "the sigmoid is taken twice. This bce works on logits, and D returns logits."),
    ],
    otherwise="G's loss is D's loss on the fakes, with the label that G wishes for. Which weights may move?",
    because="G lowers bce with the label 1: its points move to where D's logit is higher. The gradient passes "
            "through D, but only G's weight is moved.")

# --- predictions

WHERE = Exercise(
    "00.4", "Where does the shift end?", minutes=3, difficulty=2,
    hints=["D is a straight line. Can it tell a broad distribution from a narrow one if their means are equal?",
           "The game rests when the means agree: mean of the noise + shift = mean of the data. The mean of U(0, 1) "
           "is ½."],
    solution=2.5, rtol=.03,
    wrong=[
        Wrong(3., "3 is where it ended before, because that noise had the mean 0. What agrees in the end are the "
                  "means of the points, and this noise brings a mean of its own."),
        Wrong(3.5, "the right two numbers, but added: the noise already lies ½ to the right, so less shift is needed."),
        Wrong(2., "this puts the right end of the noise, 1, at the data's mean. A line D weighs all points, and what "
                  "it compares are the means."),
        Wrong(.5, "this is the mean of the noise itself. The shift is what has to be added to reach the data."),
        Wrong(0., "at a shift of 0 the points lie between 0 and 1, and a line tells them from the data easily."),
    ],
    otherwise="give a number, without quotation marks. Which property of the points can a straight line see, and what "
              "is it for this noise?",
    because="A line sees means only. Noise from U(0, 1) has the mean ½, so 3 - ½ = 2.5 is left for the shift.")

def observe_letter(answer, dice):
    """A letter, also as "(d)"."""
    yield "your answer", str(answer).strip(" ().")


RESTS = Exercise(
    "00.5", "A discriminator that has stopped learning", minutes=3, difficulty=2,
    hints=["G never sees the data. What is the only thing that tells it where to go?",
           "D's line rises to the right and stays so for ever. Is there a place where G's loss is lowest?"],
    observe=observe_letter, solution="d", others=["(d)"],
    wrong=[
        Wrong("a", "G does not stop when D does. D's line still rises to the right, so a larger shift still lowers "
                   "G's loss."),
        Wrong("b", "nothing marks the 3. G does not see the data, only D's line, and that line goes on rising beyond "
                   "3."),
        Wrong("c", "for going back D's line would have to fall to the right. It rises, because the data lay to the "
                   "right of the fakes when D learned."),
        Wrong("e", "it swings when D turns round after G has passed the data. This D learns nothing more, so nothing "
                   "turns G round."),
    ],
    otherwise="give one of the letters a to e.",
    because="Against a D that rests, G's loss falls the more the farther it goes: it runs past the data and on. Only "
            "a D that keeps learning knows that the data are at 3.")

# --- pixels

def observe_pixels(answer, dice):
    """Values off the ties, so that every way of rounding agrees; a pale image; values that are outside."""
    levels = torch.randint(0, 256, (2, 3, 4, 4), generator=dice) + torch.rand(2, 3, 4, 4, generator=dice) * .8 - .4
    x = levels / 127.5 - 1
    given = x.clone()
    out = answer(x)
    yield "a batch of random pixels", out
    yield "its dtype", str(torch.as_tensor(out).dtype)
    yield "your input afterwards", x - given
    yield "a pale image, all values between -0.1 and 0.1", answer(x.clamp(-1, 1) * .1)
    yield "black, grey and white: -1, 0.2, 1", answer(torch.tensor([-1., .2, 1.]))
    yield "values that are outside: -7, -1.1, 1.1, 7", answer(torch.tensor([-7., -1.1, 1.1, 7.]))


def solve_pixels(x):
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def pixels_by_half(x):
    return (x * .5 + .5).mul(255).add(.5).clamp(0, 255).byte()


def pixels_clamped_last(x):
    return ((x + 1) / 2 * 255).round().clamp(0, 255).to(torch.uint8)


def stretched(x):
    x = (x - x.min()) / (x.max() - x.min())
    return (x * 255).round().to(torch.uint8)


def in_place(x):
    return x.clamp_(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8)


PIXELS = Exercise(
    "00.6", "Pixels for the eye", minutes=6, difficulty=2,
    hints=["What happens to 256.3 or to -3 when it becomes a byte? Make it impossible first.",
           "`.to(torch.uint8)` cuts off what stands behind the point: 99.9 becomes 99.",
           "Clamp to [-1, 1], add 1, multiply by 127.5, round, and cast at the very end."],
    observe=observe_pixels, solution=solve_pixels, use=to_uint8, others=[pixels_by_half, pixels_clamped_last],
    wrong=[
        Wrong(lambda x: ((x.clamp(-1, 1) + 1) * 127.5).to(torch.uint8),
              "a cast cuts off the fraction instead of rounding: every value ends up to one level too dark, half a "
              "level on average. Call round() before."),
        Wrong(lambda x: ((x + 1) * 127.5).round().to(torch.int64).to(torch.uint8),
              "values outside [-1, 1] wrap around, since a byte counts modulo 256: what should be white comes out "
              "dark. Clamp first."),
        Wrong(lambda x: ((x + 1) * 127.5).to(torch.int64).to(torch.uint8),
              "two things are missing. Without clamping, values outside [-1, 1] wrap around; without rounding, every "
              "value ends up to one level too dark."),
        Wrong(stretched,
              "this stretches from the minimum to the maximum of what is given, so that a pale image comes out in "
              "full contrast and looks better than it is. The range is fixed: -1 is black, 1 is white."),
        Wrong(lambda x: (x.clamp(-1, 1) * 255).round().clamp(0, 255).to(torch.uint8),
              "this maps [0, 1] to 0…255, so that the lower half of the range, everything below grey, becomes black. "
              "The images lie in [-1, 1]: shift by 1 first."),
        Wrong(lambda x: ((x.clamp(-1, 1) + 1) * 127.5).round(),
              "the values are right, the type is not: these are floats. Files and figures want torch.uint8."),
        Wrong(lambda x: ((x.clamp(-1, 1) + 1) * 128).round().clamp(0, 255).to(torch.uint8),
              "256 levels have 255 steps between them: the factor is 255/2 = 127.5, not 128."),
        Wrong(in_place,
              "the result is right, but clamp_ and its relatives have changed your input, the generator's own "
              "output. Leave out the underscores."),
    ],
    otherwise="take the line -1, 0, 1 and follow it: it should become 0, 128 (127.5 rounded), 255.",
    because="Clamp, then round, then cast, with a range that is fixed: the same number is the same colour in every "
            "image.")

LESSON = Lesson("00", "Start here", [QUIZ, D_STEP, G_STEP, WHERE, RESTS, PIXELS])
