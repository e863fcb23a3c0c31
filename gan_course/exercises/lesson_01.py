"""Exercises of lesson 01: the game and its losses."""
import math
import warnings
from typing import Any

import torch
import torch.nn.functional as F

from ..losses import bce_d, gradient_penalty
from ._judge import Exercise, Lesson, Wrong

# --- 01.1

BLIND = Exercise(
    "01.1", "The value of a blind D", minutes=3, difficulty=1,
    hints=["Which probability of 'real' belongs to the logit 0?",
           "Both logarithms are taken of ½, and the logarithm is the natural one.",
           "V is log ½ + log(1 - ½)."],
    solution=-2 * math.log(2), rtol=.01,
    wrong=[
        Wrong(2 * math.log(2), "the number is right and the sign is not. Both terms are logarithms of a probability, "
                               "so V is never positive; D's *loss*, which is -V, is 1.386."),
        Wrong(-math.log(2), "this is one of the two terms. Real samples and fakes contribute log ½ each."),
        Wrong(0., "0 would be the value of a D that is always right and sure of it. This D answers σ(0) = ½, and "
                  "log ½ is not 0."),
        Wrong(-2., "this is the logarithm to the base 2. In formulas of this field log is the natural logarithm."),
        Wrong(-2 * math.log10(2), "this is the logarithm to the base 10. In formulas of this field log is the "
                                  "natural logarithm."),
        Wrong(1., "½ + ½ is the sum of the probabilities. V adds their logarithms."),
    ],
    otherwise="give a number, without quotation marks: the sum of two natural logarithms, one for each kind of sample.",
    because="σ(0) = ½, and V = log ½ + log(1 - ½) = -2 log 2 = -1.386. Its negative is the loss of a D that has learnt "
            "nothing.")

# --- 01.2


def observe_d_loss(answer, dice):
    """Random logits, their gradients, and logits at which a probability would be 0 or 1 in float32."""
    real, fake = torch.randn(7, generator=dice) * 2, torch.randn(5, generator=dice) * 2
    yield "D's loss on seven real and five generated logits", answer(real, fake)
    zero = torch.zeros(4)
    yield "its loss at logits 0, where D is blind", answer(zero, zero)
    far = torch.tensor([200.])
    yield "its loss where D is sure and right (logits 200 and -200)", answer(far, -far)
    yield "its loss where D is sure and wrong (logits -200 and 200)", answer(-far, far)
    real, fake = real.requires_grad_(), fake.requires_grad_()
    on_real, on_fake = answer(real, fake)
    (on_real + on_fake).backward()
    yield "the gradients that reach the logits", (real.grad, fake.grad)


def solve_d_loss(real_logits, fake_logits):
    return F.softplus(-real_logits).mean(), F.softplus(fake_logits).mean()


def d_loss_by_pytorch(real_logits, fake_logits):
    bce = F.binary_cross_entropy_with_logits
    return bce(real_logits, torch.ones_like(real_logits)), bce(fake_logits, torch.zeros_like(fake_logits))


def d_loss_by_logsigmoid(real_logits, fake_logits):
    return -F.logsigmoid(real_logits).mean(), -F.logsigmoid(-fake_logits).mean()


def d_loss_of_probabilities(real_logits, fake_logits):
    p, q = real_logits.sigmoid(), fake_logits.sigmoid()
    return F.binary_cross_entropy(p, torch.ones_like(p)), F.binary_cross_entropy(q, torch.zeros_like(q))


D_LOSS = Exercise(
    "01.2", "The loss of the discriminator", minutes=8, difficulty=2,
    hints=["D's loss is -V, so each of the two parts is the mean of minus a logarithm.",
           "-log σ(t) is softplus(-t), and -log(1 - σ(t)) is softplus(t): no probability is formed.",
           "Return two numbers: the mean of softplus over the negated real logits, and over the fake logits."],
    observe=observe_d_loss, solution=solve_d_loss, use=bce_d,
    others=[d_loss_by_pytorch, d_loss_by_logsigmoid],
    wrong=[
        Wrong(lambda r, f: (F.softplus(r).mean(), F.softplus(-f).mean()),
              "the labels are swapped: this loss is low where D calls real samples fake. -log σ(t) is softplus(-t), "
              "and it belongs to the real samples."),
        Wrong(lambda r, f: (F.softplus(-r).mean(), F.softplus(-f).mean()),
              "the part of the real samples is right. That of the fakes has the same sign, so D would learn to call "
              "them real: -log(1 - σ(t)) is softplus(t)."),
        Wrong(lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(),
              "this is the sum of the two parts. Return both, (d_loss_real, d_loss_fake): they are plotted apart."),
        Wrong(lambda r, f: (-r.sigmoid().log().mean(), -(1 - f.sigmoid()).log().mean()),
              "right on paper, infinite in float32: σ(200) is exactly 1, so the logarithm of 0 is taken. Work with "
              "the logits, by softplus."),
        Wrong(lambda r, f: (-(r.sigmoid() + 1e-8).log().mean(), -(1 - f.sigmoid() + 1e-8).log().mean()),
              "the small number inside the logarithm avoids infinity, but the loss stops at 18.4 and its gradient "
              "vanishes where D is most wrong. softplus works on the logits and needs no such number."),
        Wrong(d_loss_of_probabilities,
              "binary_cross_entropy of probabilities cuts the logarithm off at -100, so that at logit 200 the loss is "
              "100 and no gradient is left. Work with the logits, by softplus."),
        Wrong(lambda r, f: (F.softplus(f).mean(), F.softplus(-r).mean()),
              "both numbers are right, but in the wrong order: d_loss_real comes first."),
        Wrong(lambda r, f: (F.softplus(-r.mean()), F.softplus(f.mean())),
              "the mean is taken of the logits, before softplus. An expectation of losses is the mean of the losses: "
              "softplus first."),
        Wrong(lambda r, f: (F.softplus(-r).sum(), F.softplus(f).sum()),
              "these are sums over the batch. An expectation is estimated by the mean; with sums, the step would grow "
              "with the batch."),
        Wrong(lambda r, f: (F.softplus(-r), F.softplus(f)),
              "these are the losses of the single samples. An expectation is estimated by the mean over the batch."),
        Wrong(lambda r, f: (-F.softplus(-r).mean(), -F.softplus(f).mean()),
              "the sign is turned: this is the value V, which D raises. A loss is minimised, so it is -V."),
        Wrong(lambda r, f: (F.softplus(-r).mean() / 2, F.softplus(f).mean() / 2),
              "this is half of the loss. Many programs halve it; the formula does not."),
        Wrong(lambda r, f: (F.softplus(-r).mean().item(), F.softplus(f).mean().item()),
              "the numbers are right, but .item() makes them plain numbers, and no gradient can be computed from "
              "them. Return tensors."),
    ],
    otherwise="compare each part with the formula: which sign does the logit have inside softplus, and over what is "
              "the mean taken?",
    because="Both parts are binary cross-entropy in logits; softplus(t) = log(1 + eᵗ) never forms a probability.")

# --- 01.3


def observe_gradients(answer, dice):
    """Random logits, the middle, and both ends."""
    yield "both gradients at six random logits", answer(3 * torch.randn(6, generator=dice))
    yield "both gradients at the logit 0", answer(torch.zeros(1))
    yield "both gradients at the logits -200 and 200", answer(torch.tensor([-200., 200.]))


def solve_gradients(f):
    return -torch.sigmoid(f), -torch.sigmoid(-f)


def gradients_by_one_minus(f):
    return -f.sigmoid(), f.sigmoid() - 1


def gradients_by_autograd(f):
    f = f.clone().requires_grad_()
    return [torch.autograd.grad(loss.sum(), f)[0] for loss in (-F.softplus(f), F.softplus(-f))]


GRADIENTS = Exercise(
    "01.3", "Two gradients by hand", minutes=6, difficulty=2,
    hints=["The derivative of softplus(t) = log(1 + eᵗ) is eᵗ/(1 + eᵗ). That function has a name.",
           "It is the sigmoid: the derivative of softplus(t) is σ(t). In softplus(-f) the inner derivative is -1.",
           "Both are negative: -σ(f) for minimax, -σ(-f) = -(1 - σ(f)) for the non-saturating loss."],
    observe=observe_gradients, solution=solve_gradients, others=[gradients_by_one_minus, gradients_by_autograd],
    wrong=[
        Wrong(lambda f: (f.sigmoid(), (-f).sigmoid()),
              "both signs are missing. The first loss carries a minus in front of the softplus, the second inside, "
              "where the chain rule brings it out."),
        Wrong(lambda f: (-f.sigmoid(), (-f).sigmoid()),
              "the first is right. In the second, softplus(-f), the inner derivative -1 is missing; with this sign G "
              "would push its logits down."),
        Wrong(lambda f: (-(-f).sigmoid(), -f.sigmoid()),
              "the two are in the wrong order: minimax, -softplus(f), comes first."),
        Wrong(lambda f: (-f.sigmoid() * (-f).sigmoid(), -f.sigmoid() * (-f).sigmoid()),
              "σ(1 - σ) is the derivative of the sigmoid itself. Here the softplus is differentiated, whose "
              "derivative is σ."),
        Wrong(lambda f: (-1 / (1 - f.sigmoid()), -1 / f.sigmoid()),
              "these are derivatives with respect to the probability D. The task asks for those with respect to the "
              "logit f: multiply by dD/df = σ(1 - σ), and one factor cancels."),
        Wrong(lambda f: (-f.exp() / (1 + f.exp()), -1 / (1 + f.exp())),
              "right on paper; at the logit 200 eᶠ overflows, and ∞/∞ is NaN. torch.sigmoid computes the same "
              "fraction safely."),
        Wrong(lambda f: (-f.exp() / (1 + f.exp()), -(-f).exp() / (1 + (-f).exp())),
              "right on paper, but each exponential overflows at one end, and ∞/∞ is NaN. Both fractions are sigmoids: "
              "torch.sigmoid computes them safely."),
        Wrong(lambda f: (-f.sigmoid(), -f.sigmoid()),
              "the first is right. The second loss has -f inside its softplus, so its derivative has -f inside σ."),
    ],
    otherwise="differentiate softplus(t) = log(1 + eᵗ) first, then apply the chain rule to each of the two losses.",
    because="softplus' = σ, so -softplus(f) has the derivative -σ(f), and softplus(-f) has -σ(-f), which is "
            "-(1 - σ(f)).")

# --- 01.4


def observe_hinge(answer, dice):
    """Random logits, blind D, samples beyond the margin, and at its edge."""
    yield "logits on both sides of the margin", answer(*(2 * torch.randn(2, 9, generator=dice)))
    yield "all logits 0", answer(torch.zeros(4), torch.zeros(4))
    yield "real logits from 1 up, fakes from -1 down", answer(torch.tensor([1., 3.]), torch.tensor([-1., -5.]))
    yield "a D that is wrong: real at -2, fake at 2", answer(torch.tensor([-2.]), torch.tensor([2.]))


def solve_hinge(real_logits, fake_logits):
    return F.relu(1 - real_logits).mean(), F.relu(1 + fake_logits).mean(), -fake_logits.mean()


def hinge_by_clamp(real_logits, fake_logits):
    return (1 - real_logits).clamp(min=0).mean(), (1 + fake_logits).clamp(min=0).mean(), (-fake_logits).mean()


def hinge_by_maximum(real_logits, fake_logits):
    zero = torch.zeros(())
    return torch.maximum(zero, 1 - real_logits).mean(), torch.maximum(zero, 1 + fake_logits).mean(), -fake_logits.mean()


def miyato_without_minus(real_logits, fake_logits):
    zero = torch.zeros(())
    return (torch.minimum(zero, real_logits - 1).mean(), torch.minimum(zero, -fake_logits - 1).mean(),
            fake_logits.mean())


HINGE = Exercise(
    "01.4", "The hinge loss from its picture", minutes=8, difficulty=2,
    hints=["Read off two points of each line: what is the loss at the logit 0, and where does it become 0?",
           "F.relu(t) is max(0, t). 'D on real' falls from 1 at the logit 0 to 0 at the logit 1: F.relu(1 - logit).",
           "'D on fake' is its mirror image, F.relu(1 + logit). 'G on fake' is a straight line through 0 with the "
           "gradient -1 everywhere. Take the mean of each."],
    observe=observe_hinge, solution=solve_hinge, others=[hinge_by_clamp, hinge_by_maximum],
    wrong=[
        Wrong(lambda r, f: (F.relu(-r).mean(), F.relu(f).mean(), -f.mean()),
              "your hinge is at 0, so a D that answers 0 to everything would have nothing to learn. In the picture "
              "the loss becomes 0 at a margin of 1."),
        Wrong(lambda r, f: (F.relu(1 - r).mean(), F.relu(1 + f).mean(), F.relu(1 - f).mean()),
              "D's parts are right. G has no hinge: with one, a fake beyond the logit 1 would teach G nothing, but in "
              "the picture its gradient is -1 everywhere."),
        Wrong(lambda r, f: (F.relu(1 - r).mean(), F.relu(1 + f).mean(), -F.relu(1 + f).mean()),
              "D's parts are right. For G you turned the sign of D's part, as in minimax; that saturates below -1. "
              "In the picture G's line is straight."),
        Wrong(lambda r, f: (F.relu(1 - r).mean(), F.relu(1 + f).mean(), f.mean()),
              "G's sign is turned: minimising the mean logit makes fakes look *less* real. The line falls to the "
              "right."),
        Wrong(lambda r, f: (F.relu(1 + r).mean(), F.relu(1 - f).mean(), -f.mean()),
              "D's two parts are swapped: the real logits should be pushed up, above 1, and those of the fakes down, "
              "below -1."),
        Wrong(lambda r, f: (F.relu(1 - r).mean(), F.relu(1 - f).mean(), -f.mean()),
              "the part of the fakes has the same sign as that of the real samples, so D would push both up. In the "
              "picture it rises to the right."),
        Wrong(miyato_without_minus,
              "these are the objectives that D and G *maximise*, as Miyato et al. write them. A loss is minimised: "
              "turn the sign."),
        Wrong(lambda r, f: (F.softplus(1 - r).mean(), F.softplus(1 + f).mean(), -f.mean()),
              "softplus is the smooth version of this loss and never becomes exactly 0. The picture has a kink and a "
              "level part: relu."),
        Wrong(lambda r, f: (F.relu(1 - r).square().mean(), F.relu(1 + f).square().mean(), -f.mean()),
              "this is the squared hinge. In the picture the sloping parts are straight, with the gradients -1 and 1."),
        Wrong(lambda r, f: (F.relu(1 - r).mean(), F.relu(1 + f).mean()),
              "both parts of D's loss are right. G's loss is missing: return three numbers."),
        Wrong(lambda r, f: (F.relu(1 - r), F.relu(1 + f), -f),
              "these are the losses of the single samples; take the means over the batch."),
        Wrong(lambda r, f: (F.relu(1 - r).sum(), F.relu(1 + f).sum(), -f.sum()),
              "these are sums over the batch; take the means."),
    ],
    otherwise="read the loss at the logits 0, 1 and -1 off each panel, and compare them with your function.",
    because="max(0, 1 - f) on real samples, max(0, 1 + f) on fakes, and -f for G (Lim & Ye 2017; Miyato et al. 2018).")

# --- 01.5

ACROSS = 64  # pairs of the critic that notes where it is asked


def observe_penalty(answer, dice):
    """Critics whose gradient is known wherever the points are drawn, and one that notes where it is asked."""
    w, weight = torch.randn(2, 3, generator=dice) + 2
    at = torch.tensor([.2, .6, 1.5, 2.5, -.4, -3.]) + .1 * torch.rand(6, generator=dice)  # shorter and longer than 1
    real, fake = torch.randn(2, 6, 3, generator=dice)
    images = torch.rand(2, 5, 2, 4, 4, generator=dice)  # all inputs come before the answer draws as often as it likes
    yield "the linear critic f(x) = w·x", answer(lambda x: x @ w, real, fake, dice)
    pairs = [torch.stack([at, torch.full((6,), y)], 1) for y in (1., 0.)]
    yield ("a critic whose gradient has another length in each pair",
           answer(lambda x: x[:, 0].square() / 2, *pairs, dice))
    across = torch.linspace(-1, 1, ACROSS)
    top, bottom = (torch.stack([across - y, torch.full((ACROSS,), y)], 1) for y in (1., 0.))  # slanting lines
    asked = []

    def spy(x):
        asked.append(x.detach().clone())
        return x.sum(1)

    answer(spy, top, bottom, dice)
    points = torch.cat(asked)
    height = points[:, 1]
    between = len(points) == ACROSS and bool(torch.isclose(points[:, 0], across - height, atol=1e-4).all())
    yield "does D see one point on the line of each pair?", "yes" if between else "no"
    yield "are they at the real samples themselves?", "yes" if height.min() > .999 else "no"
    yield "are the points mixed in different proportions?", "yes" if len(height.unique()) > ACROSS / 2 else "no"
    yield "are they spread over the whole line?", "yes" if height.min() < .2 and height.max() > .8 else "no"
    yield "a linear critic on images", answer(lambda x: 3 * x.flatten(1).sum(1), *images, dice)
    weight.requires_grad_()
    cost = answer(lambda x: x @ weight, real, fake, dice)
    yield "has the penalty itself left a gradient in D's weights?", "no" if weight.grad is None else "yes"
    if weight.grad is not None: return
    cost.backward()
    yield "the penalty's gradient with respect to D's weights", weight.grad


def solve_penalty(D, real, fake, dice):
    epsilon = torch.rand(len(real), *[1] * (real.ndim - 1), generator=dice)
    between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    gradient, = torch.autograd.grad(D(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def penalty_by_lerp(D, real, fake, dice):
    epsilon = torch.rand(len(real), generator=dice).reshape(-1, *[1] * (real.ndim - 1))
    x = torch.lerp(real, fake, epsilon).requires_grad_()
    logits = D(x)
    g = torch.autograd.grad(logits, x, grad_outputs=torch.ones_like(logits), create_graph=True)[0]
    return torch.mean((g.reshape(len(g), -1).pow(2).sum(1).sqrt() - 1)**2)


def penalty_by_global_chance(D, real, fake, dice):
    return solve_penalty(D, fake, real, None)


def penalty_by_backward(D, real, fake, dice):
    epsilon = torch.rand(len(real), *[1] * (real.ndim - 1), generator=dice)
    between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    with warnings.catch_warnings(action="ignore"): D(between).sum().backward(create_graph=True)
    return (between.grad.flatten(1).norm(dim=1) - 1).square().mean()


def penalty_by_tuple(D, real, fake, dice):
    between = ((real + fake) / 2).requires_grad_()
    gradients: Any = torch.autograd.grad(D(between).sum(), between, create_graph=True)
    return (gradients.norm() - 1).square()


def penalty_with(*, draw=None, reduce="sum", graph=True, at=None, cost=None, norm=None):
    """What the wrong answers share: the solution, with one thing changed."""
    def penalty(D, real, fake, dice):
        one = [1] * (real.ndim - 1)
        epsilon = torch.rand(len(real), *one, generator=dice) if draw is None else draw(real, dice)
        x = (epsilon * real + (1 - epsilon) * fake if at is None else at(real, fake)).clone().requires_grad_()
        gradient, = torch.autograd.grad(getattr(D(x), reduce)(), x, create_graph=graph)
        norms = gradient.flatten(1).norm(dim=1) if norm is None else norm(gradient)
        return ((norms - 1).square() if cost is None else cost(norms)).mean()
    return penalty


PENALTY = Exercise(
    "01.5", "The gradient penalty", minutes=12, difficulty=3,
    hints=["Four steps: draw ε, mix the samples, differentiate D at the mixtures, penalise the lengths.",
           "ε needs one number for each sample: shape (B,1) for points and (B,1,1,1) for images, which is "
           "torch.rand(len(real), *[1] * (real.ndim - 1), generator=dice).",
           "Call .requires_grad_() on the mixtures; gradient, = torch.autograd.grad(D(between).sum(), between, "
           "create_graph=True). The length of each row is gradient.flatten(1).norm(dim=1)."],
    observe=observe_penalty, solution=solve_penalty, use=gradient_penalty,
    others=[penalty_by_lerp, penalty_by_global_chance],
    wrong=[
        Wrong(penalty_with(draw=lambda real, dice: torch.rand(1, generator=dice)),
              "one ε is drawn for the whole batch. Every point then lies at the same proportion between its real "
              "sample and its fake; draw one number for each sample."),
        Wrong(penalty_with(draw=lambda real, dice: torch.rand(real.shape, generator=dice)),
              "ε is drawn for every coordinate. The mixture then lies in the box between the two samples and not on "
              "the line; draw one number for each sample, and let it broadcast."),
        Wrong(penalty_with(draw=lambda real, dice: torch.rand(len(real), 1, generator=dice)),
              "right for points, but ε of shape (B,1) does not fit images. Give it as many axes of length 1 as the "
              "samples have axes: (B,1,1,1)."),
        Wrong(penalty_with(draw=lambda real, dice: torch.rand(len(real), generator=dice)),
              "PyTorch refuses. If it speaks of sizes, ε has the shape (B,), which lines up with the coordinates and "
              "not with the samples: points need (B,1). If it speaks of grad, the mixture lacks .requires_grad_(), or "
              "the logits were not summed."),
        Wrong(penalty_by_tuple,
              "torch.autograd.grad returns a tuple, here of one gradient. Unpack it with a comma, as in gradient, = "
              "torch.autograd.grad(…)."),
        Wrong(penalty_by_backward,
              "the number is right, but backward() also leaves the gradient of the summed logits in D's weights, and "
              "D would be trained on it. torch.autograd.grad returns a gradient and stores none."),
        Wrong(penalty_with(cost=lambda norms: (norms.square() - 1).square()),
              "the norm is squared before 1 is subtracted. The formula has (‖∇f‖ - 1)²: take the root first."),
        Wrong(penalty_with(cost=lambda norms: norms.square()),
              "this pushes the gradient to 0. The penalty of Gulrajani et al. pushes its length to 1: subtract 1 "
              "before you square."),
        Wrong(penalty_with(cost=lambda norms: F.relu(norms - 1).square()),
              "this is the one-sided version, which leaves gradients below 1 alone. The formula penalises both sides."),
        Wrong(penalty_with(cost=lambda norms: (norms - 1).abs()),
              "this is the distance from 1 without the square."),
        Wrong(penalty_with(cost=lambda norms: 10 * (norms - 1).square()),
              "the weight 10 is included. Return the expectation alone: the training multiplies by λ."),
        Wrong(penalty_with(graph=False),
              "the number is right, but it is a constant for D: without create_graph=True autograd throws the graph of "
              "the gradient away, and backward() finds nothing to differentiate."),
        Wrong(penalty_with(at=lambda real, fake: real),
              "the gradient is taken at the real samples only (R1 looks there). This penalty looks at the lines "
              "between real samples and fakes."),
        Wrong(penalty_with(reduce="mean"),
              "the mean of the logits is differentiated, which divides every gradient by the size of the batch. "
              "Differentiate the sum: each row is then the gradient of its own sample."),
        Wrong(penalty_with(norm=lambda gradient: gradient.norm()),
              "the norm is taken over the whole batch. Each sample has a gradient of its own: flatten each sample, "
              "and take the norm over dim=1."),
        Wrong(penalty_with(norm=lambda gradient: gradient.norm(dim=1)),
              "right for points, wrong for images: there dim=1 runs over the channels only. Flatten each sample "
              "first."),
    ],
    otherwise="go through the four steps: one ε for each sample, mixtures, the gradient of the summed logits at the "
              "mixtures, the mean of (length - 1)².",
    because="Gulrajani et al. (2017, eq. 3) without λ. Each sample's logit depends on this sample alone, so one "
            "gradient of the sum holds the gradients of all samples.")

# --- 01.6

LEVEL = Exercise(
    "01.6", "A fake that looks as real as its partner", minutes=3, difficulty=2,
    hints=["Call the fake's logit t. Its partner stays at 7, so G's loss is softplus(7 - t).",
           "The derivative is -σ(7 - t). Put t = 7 in."],
    solution=-.5, rtol=.02,
    wrong=[
        Wrong(-torch.sigmoid(torch.tensor(-7.)).item(),
              "this is the gradient of the non-saturating loss, which looks at the fake alone: -σ(-7). Here the gap "
              "between the two logits counts, and it is 0."),
        Wrong(0., "a gap of 0 is no minimum. G's loss falls on as the fake overtakes its partner, so the gradient is "
                  "not 0."),
        Wrong(.5, "the size is right, the sign is not: raising the fake's logit lowers G's loss, so the derivative is "
                  "negative."),
        Wrong(-1., "this is where the fake lies far below its partner. At a gap of 0 the sigmoid is in its middle."),
        Wrong(math.log(2), "this is G's loss at a gap of 0. The question is about its derivative."),
        Wrong(-.25, "this is the derivative of σ at 0. Here softplus is differentiated, which gives σ, and σ(0) is ½."),
    ],
    otherwise="give a number, without quotation marks: differentiate softplus(7 - t) with respect to t.",
    because="d/dt softplus(7 - t) = -σ(7 - t), and at t = 7 this is -σ(0) = -½, whatever the level of the two.")

LESSON = Lesson("01", "The game and its losses", [BLIND, D_LOSS, GRADIENTS, HINGE, PENALTY, LEVEL])
