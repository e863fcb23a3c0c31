"""Exercises of lesson 03: what the losses measure, and where gradients lead."""
import torch
import torch.nn.functional as F

from ._judge import Exercise, Lesson, Wrong

# --- 03.1


def observe_best_d(answer, dice):
    """Random densities, and points where one of the two is zero."""
    p, q = torch.rand(2, 6, generator=dice, dtype=torch.float64) + .05
    yield "D* at six points with random p and q", answer(p, q)
    some, none = torch.full((3,), .2, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    yield "D* where p = q", answer(some, some)
    yield "D* where there are only real samples (q = 0)", answer(some, none)
    yield "D* where there are only fakes (p = 0)", answer(none, some)


def solve_best_d(p, q):
    return p / (p + q)


def best_d_by_odds(p, q):
    return 1 / (1 + q / p)


def best_d_by_logit(p, q):
    return torch.sigmoid(torch.log(p) - torch.log(q))


BEST_D = Exercise(
    "03.1", "The best discriminator", minutes=8, difficulty=2,
    hints=["Fix one x. Then p and q are two numbers, and D is one unknown: differentiate p log D + q log(1 - D) by D.",
           "The derivative is p/D - q/(1 - D). Set it to zero and solve for D.",
           "From p(1 - D) = qD follows D = p/(p + q): the share of real samples among all samples at x."],
    observe=observe_best_d, solution=solve_best_d, others=[best_d_by_odds, best_d_by_logit],
    wrong=[
        Wrong(lambda p, q: q / (p + q),
              "this is the probability of 'fake': the labels are swapped. log D stands at the real samples, so D is "
              "large where p is."),
        Wrong(lambda p, q: p / q,
              "these are the odds D/(1 - D), not D. Solve p/D = q/(1 - D) for D: a probability stays between 0 and 1."),
        Wrong(lambda p, q: torch.log(p) - torch.log(q),
              "this is the best logit, log p - log q. The task asks for the probability: apply the sigmoid."),
        Wrong(lambda p, q: p - q,
              "this is a difference. It says which density is larger, but it does not solve p/D = q/(1 - D)."),
        Wrong(lambda p, q: (p > q).to(p.dtype),
              "this is the answer of least *errors*, yes or no. The logarithm punishes a sure answer that is wrong, "
              "so the best D hedges wherever both densities are positive."),
        Wrong(lambda p, q: 2 * p / (p + q),
              "this is p/m with the mixture m = (p + q)/2, and it reaches 2. The half of m belongs to D: D = p/(2m)."),
        Wrong(lambda p, q: p,
              "this ignores the fakes. D does not learn how likely x is as a real sample, but how the two compare at "
              "x."),
    ],
    otherwise="set the derivative of p log D + q log(1 - D) with respect to D to zero, and solve for D.",
    because="The derivative p/D - q/(1 - D) vanishes at D = p/(p + q), and the second derivative -p/D² - q/(1 - D)² "
            "is negative, so this is the maximum (Goodfellow et al. 2014, proposition 1).")

# --- 03.2


def observe_smoothed(answer, dice):
    """One-sided, two-sided, and no smoothing; points where one density is zero."""
    p, q = torch.rand(2, 6, generator=dice, dtype=torch.float64) + .05
    some, none = torch.full((3,), .2, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    yield "labels 0.9 and 0 at six random points", answer(p, q, .9, 0.)
    yield "labels 0.9 and 0 where there are only real samples", answer(some, none, .9, 0.)
    yield "labels 0.9 and 0 where there are only fakes", answer(none, some, .9, 0.)
    yield "labels 0.8 and 0.1 at six random points", answer(p, q, .8, .1)
    yield "labels 1 and 0, that is no smoothing, at six random points", answer(p, q, 1., 0.)


def solve_smoothed(p, q, real_label=.9, fake_label=0.):
    return (real_label * p + fake_label * q) / (p + q)


def smoothed_between(p, q, real_label=.9, fake_label=0.):
    return fake_label + (real_label - fake_label) * p / (p + q)


def smoothed_by_ones(p, q, real_label=.9, fake_label=0.):
    ones = real_label * p + fake_label * q
    zeros = (1 - real_label) * p + (1 - fake_label) * q
    return ones / (ones + zeros)


SMOOTHED = Exercise(
    "03.2", "The best D with smoothed labels", minutes=6, difficulty=2,
    hints=["A real sample with the label 0.9 contributes 0.9 log D + 0.1 log(1 - D). Write down the whole integrand "
           "at x.",
           "Collect what stands before log D, call it A, and what stands before log(1 - D), call it B. You have just "
           "solved this problem: the best D is A/(A + B).",
           "A = real_label p + fake_label q, and A + B = p + q, because the two shares of a label add up to 1."],
    observe=observe_smoothed, solution=solve_smoothed, others=[smoothed_between, smoothed_by_ones],
    wrong=[
        Wrong(lambda p, q, a=.9, b=0.: p / (p + q),
              "this is the best D without smoothing. The label changes what stands before log D and before log(1 - "
              "D)."),
        Wrong(lambda p, q, a=.9, b=0.: a * p / (a * p + (1 - b) * q),
              "this treats the label as a weight of the real samples. A label of 0.9 also puts 0.1 p before log(1 - "
              "D); leave that out, and D still answers 1 where only real samples are."),
        Wrong(lambda p, q, a=.9, b=0.: a * p / (a * p + q),
              "this treats the label as a weight of the real samples, and forgets the label of the fakes. A label of "
              "0.9 puts 0.9 p before log D *and* 0.1 p before log(1 - D)."),
        Wrong(lambda p, q, a=.9, b=0.: a * p / (p + q),
              "right for one-sided smoothing. With a fake label above 0 the fakes, too, put a share before log D."),
        Wrong(lambda p, q, a=.9, b=0.: (p / (p + q)).clamp(b, a),
              "this clips the old answer. The label moves the best D everywhere, not only where it was extreme: at p "
              "= q and labels 0.9 and 0 it is 0.45."),
        Wrong(lambda p, q, a=.9, b=0.: ((1 - a) * p + (1 - b) * q) / (p + q),
              "this is 1 - D: the shares that stand before log(1 - D) are in the numerator."),
        Wrong(lambda p, q, a=.9, b=0.: a * p + b * q,
              "this is the amount of 'real' at x. Divide it by all that is there, p + q."),
    ],
    otherwise="write the integrand at one x with both labels, collect the terms of log D and of log(1 - D), and use "
              "03.1.",
    because="The integrand is A log D + B log(1 - D) with A = αp + βq and B = (1 - α)p + (1 - β)q for the labels α "
            "and β. By 03.1 the best D is A/(A + B), and A + B = p + q (Goodfellow 2016, on one-sided label "
            "smoothing).")

# --- 03.3


def observe_hinge(answer, dice):
    """Random densities, equal ones, and densities that do not overlap."""
    p, q = torch.rand(2, 6, generator=dice, dtype=torch.float64)
    yield "the least loss at six points with random p and q", answer(p, q)
    some, none = torch.full((3,), .2, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    yield "the least loss where p = q = 0.2", answer(some, some)
    yield "the least loss where q = 0", answer(some, none)


def solve_hinge(p, q):
    return 2 * torch.minimum(p, q)


def hinge_by_sign(p, q):
    f = torch.sign(p - q)
    return p * F.relu(1 - f) + q * F.relu(1 + f)


def hinge_by_difference(p, q):
    return p + q - (p - q).abs()


def hinge_by_trying(p, q):
    f = torch.linspace(-3, 3, 601, dtype=p.dtype)[:, None]
    return (p * F.relu(1 - f) + q * F.relu(1 + f)).amin(0)


HINGE = Exercise(
    "03.3", "What the hinge loss leaves", minutes=7, difficulty=2,
    hints=["Sketch p max(0, 1 - f) + q max(0, 1 + f) over f for p = 0.3 and q = 0.1: it is made of straight pieces.",
           "A function made of straight pieces is lowest at a corner, and the corners are f = -1 and f = 1.",
           "At f = 1 the loss is 2q, at f = -1 it is 2p. D takes the smaller one."],
    observe=observe_hinge, solution=solve_hinge, others=[hinge_by_sign, hinge_by_difference, hinge_by_trying],
    wrong=[
        Wrong(lambda p, q: p + q,
              "this is the loss of f = 0, of a D that has no opinion. It can do better wherever p and q differ."),
        Wrong(lambda p, q: torch.minimum(p, q),
              "the right density, but a sample on the wrong side of its margin is off by 1 + 1: at f = 1 a fake costs "
              "2."),
        Wrong(lambda p, q: (p - q).abs(),
              "this grows with the difference. D's loss is largest where it cannot tell, at p = q, and 0 where one is "
              "0."),
        Wrong(lambda p, q: 2 * torch.maximum(p, q),
              "this is the worse corner. D answers f = 1 where p is larger, and then it is the fakes that cost 2q."),
        Wrong(lambda p, q: torch.zeros_like(p),
              "no loss at all would need f ≥ 1 for the real samples and f ≤ -1 for the fakes at the same x: f is one "
              "number."),
        Wrong(lambda p, q: 4 * p * q / (p + q),
              "this is the loss of the graded answer f = (p - q)/(p + q). The loss is made of straight pieces in f, "
              "so the best f lies at a corner, not between."),
    ],
    otherwise="find the f that makes p max(0, 1 - f) + q max(0, 1 + f) smallest, for p > q and for p < q.",
    because="Between -1 and 1 the loss is p + q + f(q - p), a straight line, so its least value is at a corner: 2q at "
            "f = 1 or 2p at f = -1. Together that is 2 min(p, q) = p + q - |p - q|.")

# --- 03.4

SLOPE = Exercise(
    "03.4", "A critic that leans on its penalty", minutes=7, difficulty=2,
    hints=["The mean of -ax over the real samples is 0, and over the fakes it is -2a. What are the two terms of "
           "wgan_d?",
           "Without the penalty the loss is -2a. The critic's gradient is -a everywhere, so its norm is a for a > 0.",
           "The loss is -2a + 10(a - 1)². Set its derivative, -2 + 20(a - 1), to zero."],
    solution=1.1, rtol=2e-3,
    wrong=[
        Wrong(1., "this is where the penalty alone would be smallest. The penalty is soft: at a = 1 its derivative is "
                  "0, the distance still pulls with -2, and the critic gives way a little."),
        Wrong(1.05, "this minimises -a + 10(a - 1)². The fakes are shifted by 2, so the first term is -2a."),
        Wrong(1.2, "this solves -2 + 10(a - 1) = 0: the derivative of (a - 1)² is 2(a - 1)."),
        Wrong(.9, "the sign of the pull is turned. The critic wants a *large* a, since its loss contains -2a."),
        Wrong(2.2, "this is the distance that the critic reports, 2a. The task asks for the slope a."),
        Wrong(2., "this is the true distance. The slope is a compromise between -2a, which wants it large, and the "
                  "penalty."),
        Wrong(-1.1, "the critic is f(x) = -ax, so the minus sign is there already; the task asks for a."),
    ],
    otherwise="write the loss as a function of a alone: the two means of wgan_d, and ten times the squared (|slope| - "
              "1).",
    because="The loss is -2a + 10(a - 1)², lowest where 20(a - 1) = 2. The critic therefore reports 2.2 where the "
            "distance is 2: a penalty is a soft wall, and the slope leans on it.")

# --- 03.5


def observe_in_turn(answer, dice):
    """Gradients that tell the old pair from the new one, games of both kinds, and small and large steps."""
    theta, psi = torch.randn(2, generator=dice, dtype=torch.float64)

    def simple(theta, psi): return psi + 3, 5 - theta
    def minimax(theta, psi): return torch.sigmoid(psi * theta) * psi, -torch.sigmoid(psi * theta) * theta
    def held(theta, psi): return torch.sigmoid(-psi * theta) * psi, -torch.sigmoid(psi * theta) * theta - .3 * psi
    yield "(theta, psi) after a step of a simple game, h = 0.2", answer(theta, psi, simple, .2)
    yield "after a step of the minimax game, h = 0.5", answer(theta, psi, minimax, .5)
    yield "after a step of the non-saturating game with R1, h = 0.1", answer(theta, psi, held, .1)
    here = answer(theta, psi, simple, .2)
    for _ in range(3): here = answer(*here, simple, .2)
    yield "after four steps of the simple game", here


def solve_in_turn(theta, psi, push, h):
    psi = psi + h * push(theta, psi)[1]
    theta = theta + h * push(theta, psi)[0]
    return theta, psi


def in_turn_by_names(theta, psi, push, h):
    _, d_push = push(theta, psi)
    new_psi = psi + h * d_push
    g_push, _ = push(theta, new_psi)
    return theta + h * g_push, new_psi


def in_turn_as_a_tensor(theta, psi, push, h):
    state = torch.stack([theta, psi])
    state[1] += h * push(state[0].clone(), state[1].clone())[1]
    state[0] += h * push(state[0].clone(), state[1].clone())[0]
    return state[0], state[1]


def both_old(theta, psi, push, h):
    g, d = push(theta, psi)
    return theta + h * g, psi + h * d


def g_first(theta, psi, push, h):
    theta = theta + h * push(theta, psi)[0]
    return theta, psi + h * push(theta, psi)[1]


def downhill(theta, psi, push, h):
    psi = psi - h * push(theta, psi)[1]
    return theta - h * push(theta, psi)[0], psi


def unscaled(theta, psi, push, h):
    psi = psi + push(theta, psi)[1]
    return theta + push(theta, psi)[0], psi


def d_twice(theta, psi, push, h):
    psi = psi + h * push(theta, psi)[1]
    g, d = push(theta, psi)
    return theta + h * g, psi + h * d


def crossed(theta, psi, push, h):
    psi = psi + h * push(theta, psi)[0]
    return theta + h * push(theta, psi)[1], psi


def d_descends(theta, psi, push, h):
    psi = psi - h * push(theta, psi)[1]
    return theta + h * push(theta, psi)[0], psi


IN_TURN = Exercise(
    "03.5", "One step, D first and then G", minutes=7, difficulty=2,
    hints=["`push` returns two numbers: how G's weight is pushed, and how D's is. Call it twice.",
           "D's step uses the pair as it was given. G's step then has to see the new psi.",
           "psi = psi + h * push(theta, psi)[1], and afterwards theta = theta + h * push(theta, psi)[0]."],
    observe=observe_in_turn, solution=solve_in_turn, others=[in_turn_by_names, in_turn_as_a_tensor],
    wrong=[
        Wrong(both_old, "this moves both at once: G reacts to the old psi. In turn means that D has moved when G "
                        "looks."),
        Wrong(g_first, "G moves first and D answers. The training loop of this course has D first: D's step, then "
                       "G's."),
        Wrong(downhill, "the sign is turned: `push` is already *minus* the gradient, so it is added."),
        Wrong(d_descends, "D's sign is turned: both pushes are minus the gradient of the player's own loss, so both "
                          "are added."),
        Wrong(unscaled, "the step size is missing: multiply each push by h."),
        Wrong(d_twice, "D moves twice. After its step only theta changes."),
        Wrong(crossed, "the pushes are crossed: the first belongs to theta (G), the second to psi (D)."),
        Wrong(lambda t, p, push, h: tuple(reversed(solve_in_turn(t, p, push, h))),
              "the step is right, but the order is not: return (theta, psi)."),
    ],
    otherwise="D: psi + h times the second push at the given pair. G: theta + h times the first push at the *new* "
              "pair.",
    because="This is the loop that one really runs: after D's step, G's gradient goes through the discriminator that "
            "has just been updated.")

# --- 03.6

GAMES = Exercise(
    "03.6", "Outwards, in circles, or inwards?", minutes=5, difficulty=2,
    hints=["For game 1 think of a circle on which one walks straight ahead, along the tangent, for a step of some "
           "length.",
           "For game 3 look at the sign of -θψ tanh(θψ/2). Can it be positive?",
           "For game 4: R1 adds -γψ to D's push, which points to ψ = 0 wherever D is."],
    solution="ocii",
    wrong=[
        Wrong("occi", "game 3 is not a circle. Its eigenvalues at the equilibrium are those of a circle, but away "
                      "from it -θψ tanh(θψ/2) is negative: the push has a part that points inwards."),
        Wrong("ooii", "game 2 stays on a closed curve. In turn, D's step is followed by an answer of G that turns it "
                      "back: the determinant of a step near the equilibrium is exactly 1."),
        Wrong("ccii", "game 1 follows arrows at right angles to the radius, but with steps of finite length. Each "
                      "step goes along the tangent and so ends a little further out."),
        Wrong("ccci", "you followed the arrows, not the steps: a step along the tangent leads outwards (game 1). And "
                      "game 3 has a push inwards, -θψ tanh(θψ/2)."),
        Wrong("ocio", "R1 pushes ψ towards 0 in every step. For γ = 0.3 and h = 0.2 that is far more than the step "
                      "along the tangent carries outwards."),
        Wrong("ooci", "game 2 stays on a closed curve although it takes finite steps, because G sees the new D. And "
                      "game 3 has a push inwards, -θψ tanh(θψ/2)."),
        Wrong("ocic", "R1 does not only stop the drift: the push -γψ has no counterpart that would keep a circle "
                      "going."),
        Wrong("iiii", "without R1 and with the minimax loss no push points inwards: it is at right angles to the "
                      "radius."),
        Wrong("oooi", "game 2 stays on a closed curve (G sees the new D), and in game 3 a part of the push points "
                      "inwards."),
        Wrong("cccc", "a circle is what the arrows of the minimax game say. Finite steps (game 1), the other loss "
                      "(game 3) and R1 (game 4) each change it."),
    ],
    otherwise="four letters in the order of the games, each o, c or i: is there a push along the radius, and where "
              "does a finite step along the tangent end?",
    because="1: |λ| = √(1 + h²/4) > 1. 2: the determinant of a step is 1. 3: d/dt of half the squared radius is -θψ "
            "tanh(θψ/2) ≤ 0. 4: R1 gives the eigenvalues a modulus below 1.")

LESSON = Lesson("03", "What the losses measure", [BEST_D, SMOOTHED, HINGE, SLOPE, IN_TURN, GAMES])
