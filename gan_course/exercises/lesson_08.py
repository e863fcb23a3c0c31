"""Exercises of lesson 08: spectral norm, self-attention, and what may be concluded from two tables."""
import torch
import torch.nn.functional as F

from ..sagan import SelfAttention2d
from ._judge import Exercise, Lesson, Wrong

# --- 08.1


def observe_power_iteration(answer, dice):
    """Few steps and many, a start that is gone on with, and the gradient that reaches W."""
    square, wide = torch.randn(6, 6, generator=dice), torch.randn(5, 9, generator=dice)
    start, other = torch.randn(6, generator=dice), F.normalize(torch.randn(5, generator=dice), dim=0)
    yield "(sigma, u) of a 6×6 matrix after one step", answer(square, start, 1)
    yield "(sigma, u) after four steps", answer(square, start, 4)
    yield "the start u, which belongs to the caller", start
    yield "(sigma, u) of a 5×9 matrix after three steps", answer(wide, other, 3)
    yield "two steps, and two more from the u that came back", answer(wide, answer(wide, other, 2)[1], 2)
    trained = wide.clone().requires_grad_()
    sigma, u = answer(trained, other, 2)
    yield "whether u carries a gradient", u.requires_grad
    yield "whether sigma carries a gradient", getattr(sigma, "requires_grad", False)
    if getattr(sigma, "requires_grad", False):
        yield "the gradient of sigma with respect to W", torch.autograd.grad(sigma, trained)[0]


def solve_power_iteration(W, u, steps):
    with torch.no_grad():
        for _ in range(steps):
            v = F.normalize(W.T @ u, dim=0)
            u = F.normalize(W @ v, dim=0)
    return u @ W @ v, u


def power_by_detached(W, u, steps):
    fixed = W.detach()
    for _ in range(steps):
        v = fixed.T @ u
        v = v / v.norm()
        u = fixed @ v
        u = u / u.norm()
    return torch.dot(u, W @ v), u


def power_by_outer_product(W, u, steps):
    A = W.detach()
    for _ in range(steps):
        v = F.normalize(u @ A, dim=0)
        u = F.normalize(A @ v, dim=0)
    return (W * torch.outer(u, v)).sum(), u


def _power(W, u, steps, back=None, unit=F.normalize, last=None, grad=False, start=None):
    with torch.set_grad_enabled(grad):
        u = u if start is None else start(W)
        for _ in range(steps):
            v = unit((W.T if back is None else back(W)) @ u, dim=0)
            u = unit(W @ v, dim=0)
    return u @ W @ v, u


def power_unscaled(W, u, steps):
    return _power(W, u, steps, unit=lambda x, dim: x)


def power_u_unscaled(W, u, steps):
    with torch.no_grad():
        for _ in range(steps):
            v = F.normalize(W.T @ u, dim=0)
            u = W @ v
    return u @ W @ v, u


def power_not_transposed(W, u, steps):
    return _power(W, u, steps, back=lambda W: W)


def power_with_gradient(W, u, steps):
    return _power(W, u, steps, grad=True)


def power_without_gradient(W, u, steps):
    sigma, u = solve_power_iteration(W.detach(), u, steps)
    return sigma, u


def power_from_scratch(W, u, steps):
    return _power(W, u, steps, start=lambda W: torch.ones(len(W)))


def power_one_step(W, u, steps):
    return _power(W, u, 1)


def power_returns_v(W, u, steps):
    sigma, u = solve_power_iteration(W, u, steps)
    return sigma, F.normalize(W.T.detach() @ u, dim=0)


def power_frobenius(W, u, steps):
    return W.norm(), solve_power_iteration(W, u, steps)[1]


POWER = Exercise(
    "08.1", "Power iteration", minutes=10, difficulty=2,
    hints=["Each step has two lines: v from u by the transposed matrix, then u from v by the matrix itself.",
           "`F.normalize(x, dim=0)` divides a vector by its length. The two lines run under `torch.no_grad()`, because "
           "u and v count as constants.",
           "After the loop, outside of `no_grad`, return `u @ W @ v, u`: there the gradient of sigma reaches W."],
    observe=observe_power_iteration, solution=solve_power_iteration, others=[power_by_detached, power_by_outer_product],
    wrong=[
        Wrong(power_unscaled,
              "neither vector is divided by its length, so the estimate grows with each step. Only the direction is "
              "wanted; σ is read off at the end, from vectors of length 1."),
        Wrong(power_u_unscaled,
              "u keeps its length, so u @ W @ v is the square of σ. Divide u by its length as you did with v."),
        Wrong(power_not_transposed,
              "both products use W. The way back from outputs to inputs is the transposed matrix, W.T; with W twice "
              "one looks for an eigenvector, and a kernel is not even square."),
        Wrong(power_frobenius,
              "this is the Frobenius norm, the root of the sum of all squares. It counts every singular value; the "
              "spectral norm is the largest one alone."),
        Wrong(power_with_gradient,
              "the gradient flows through the iteration. u and v count as constants: only the W in u @ W @ v gets a "
              "gradient, so put the loop under `torch.no_grad()`."),
        Wrong(power_without_gradient,
              "sigma carries no gradient. u and v are constants, but W in u @ W @ v is not: otherwise the optimiser "
              "does not know that the layer divides by σ."),
        Wrong(power_from_scratch,
              "the iteration starts anew and ignores the u that it was given. One step a training step is enough only "
              "because u is kept from the step before."),
        Wrong(power_one_step,
              "this always does a single step, whatever `steps` says."),
        Wrong(power_returns_v,
              "the second value that you return is v, which has as many entries as W has columns. u is what the next "
              "call starts from."),
    ],
    otherwise="v is W.T @ u and u is W @ v, each divided by its length; then sigma is u @ W @ v.",
    because="W.T and W in turn multiply the part of u along each singular direction by the square of its singular "
            "value, so the largest one wins; the lengths are taken away. With u and v held still the gradient of u @ W "
            "@ v is the outer product of u and v, which is exact at convergence.")

# --- 08.2

LENGTH = Exercise(
    "08.2", "A weight that is ten times too long", minutes=4, difficulty=2,
    hints=["Write Ŵ(W) = W/σ(W). What is Ŵ(10 W)?",
           "The loss L(Ŵ(10 W)) is the same number as L(Ŵ(W)). Differentiate both with respect to W.",
           "By the chain rule 10 · ∇L at 10 W equals ∇L at W."],
    solution=.1,
    wrong=[
        Wrong(1., "this would be so if the gradient were taken with respect to Ŵ. The raw weight W stands before the "
                  "division: a small move of a long W turns Ŵ less."),
        Wrong(10., "the wrong way round: the longer W is, the less a step of a given size changes W/σ."),
        Wrong(.01, "the factor enters once, not twice: 10 times the gradient at 10 W is the gradient at W."),
        Wrong(0., "the gradient *along* W is 0, at every length. The other directions change Ŵ, and they keep a "
                  "gradient."),
        Wrong(-.1, "a length has no sign, and the direction of the gradient stays as well."),
    ],
    otherwise="compare W/σ(W) before and after, and use the chain rule on L(10 W / σ(10 W)).",
    because="Ŵ does not change when W is multiplied by 10, so L(10 W) = L(W) for every W. Differentiating both sides "
            "with respect to W gives 10 ∇L(10 W) = ∇L(W).")

# --- 08.3


def observe_attention(answer, dice):
    """Maps that are not square, γ at 0 and elsewhere, queries of zero, and who gets a gradient."""
    def draw(*shape): return torch.randn(*shape, generator=dice, dtype=torch.float64)
    x, Wf, Wg = draw(2, 8, 4, 6), draw(2, 8, 1, 1), draw(2, 8, 1, 1)
    Wh, Wo = draw(4, 8, 1, 1), draw(8, 4, 1, 1)
    gamma = torch.tensor(.7, dtype=torch.float64)
    yield "y of a 4×6 map, gamma 0.7", answer(x, Wf, Wg, Wh, Wo, gamma)
    yield "y at gamma 0, which is x", answer(x, Wf, Wg, Wh, Wo, 0 * gamma)
    yield "y where all queries are zero", answer(x, 0 * Wf, Wg, Wh, Wo, gamma)
    one = x[:1, :, :2, :2]
    yield "y of a 2×2 map, where there is one source", answer(one, Wf, Wg, Wh, Wo, gamma)
    weights = [w.clone().requires_grad_() for w in (Wf, Wg, Wh, Wo, gamma)]
    y = answer(x, *weights)
    grads = torch.autograd.grad(y.square().mean(), weights, allow_unused=True)
    yield "gradients of Wf, Wg, Wh, Wo and gamma", [torch.zeros(()) if g is None else g for g in grads]


def _attend(x, Wf, Wg, Wh, Wo, gamma, pool=lambda t: F.max_pool2d(t, 2), scale=1., axis=2, before=False, back=None):
    def rows(t): return t.flatten(2).transpose(1, 2)
    def sources(W): return F.conv2d(pool(x), W) if before else pool(F.conv2d(x, W))
    q, k, v = rows(F.conv2d(x, Wf)), rows(sources(Wg)), rows(sources(Wh))
    weights = (q @ k.transpose(1, 2) * scale).softmax(axis)
    o = weights @ v
    o = o.transpose(1, 2).unflatten(2, x.shape[2:]) if back is None else back(o)
    return x + gamma * F.conv2d(o, Wo)


def solve_attention(x, Wf, Wg, Wh, Wo, gamma):
    def rows(t): return t.flatten(2).transpose(1, 2)  # (B,c,h,w) → (B,h·w,c)
    q = rows(F.conv2d(x, Wf))
    k = rows(F.max_pool2d(F.conv2d(x, Wg), 2))
    v = rows(F.max_pool2d(F.conv2d(x, Wh), 2))
    weights = (q @ k.transpose(1, 2)).softmax(2)  # over the sources
    o = (weights @ v).transpose(1, 2).unflatten(2, x.shape[2:])
    return x + gamma * F.conv2d(o, Wo)


def attention_by_einsum(x, Wf, Wg, Wh, Wo, gamma):
    B, C, H, W = x.shape
    q = F.conv2d(x, Wf).reshape(B, -1, H * W)
    k, v = (F.max_pool2d(F.conv2d(x, w), 2).reshape(B, len(w), -1) for w in (Wg, Wh))
    s = torch.einsum("bcj,bci->bji", q, k)
    weights = torch.softmax(s - s.amax(2, keepdim=True), 2)
    o = torch.einsum("bji,bci->bcj", weights, v).reshape(B, -1, H, W)
    return torch.add(x, gamma * F.conv2d(o, Wo))


def attention_with_the_kernel_scaled(x, Wf, Wg, Wh, Wo, gamma):
    q, k = F.conv2d(x, Wf).flatten(2), F.max_pool2d(F.conv2d(x, Wg), 2).flatten(2)
    v = F.max_pool2d(F.conv2d(x, Wh), 2).flatten(2)
    weights = (k.transpose(1, 2) @ q).softmax(1)  # (B,sources,positions): the sources stand first here
    return x + F.conv2d((v @ weights).unflatten(2, x.shape[2:]), gamma * Wo)


ATTENTION = Exercise(
    "08.3", "Self-attention", minutes=15, difficulty=3,
    hints=["A 1×1 convolution with a given kernel is `F.conv2d(x, Wf)`. `t.flatten(2).transpose(1, 2)` turns a map "
           "(B,c,h,w) into a row for each position, (B,h·w,c).",
           "scores = q @ k.transpose(1, 2) has the shape (B, positions, sources). For each position the weights sum to "
           "1 over the *sources*, the last axis.",
           "The way back: (weights @ v).transpose(1, 2).unflatten(2, x.shape[2:]), then `F.conv2d(…, Wo)`, times "
           "gamma, plus x."],
    observe=observe_attention, solution=solve_attention,
    others=[attention_by_einsum, attention_with_the_kernel_scaled],
    wrong=[
        Wrong(lambda *a: _attend(*a, axis=1),
              "the softmax runs over the positions that ask. Each position takes a weighted mean over the sources, so "
              "its weights have to sum to 1 over the last axis."),
        Wrong(lambda x, Wf, Wg, Wh, Wo, gamma: _attend(x, Wf, Wg, Wh, Wo, 1),
              "gamma is left out, which is gamma = 1: at the start of training the block would disturb every feature "
              "instead of doing nothing."),
        Wrong(lambda x, *a: _attend(x, *a) - x,
              "x is missing: the block returns x + γ·o. Without x it passes on nothing at the start, where γ is 0."),
        Wrong(lambda *a: _attend(*a, scale=2**-.5),
              "the scores are divided by √d, as in a transformer. SAGAN's equation has no such factor."),
        Wrong(lambda x, Wf, Wg, *a: _attend(x, Wg, Wf, *a),
              "query and key are exchanged. Before training both names would do; but with given weights, and with "
              "pooling on one of the two, Wf has to make the queries."),
        Wrong(lambda *a: _attend(*a, pool=lambda t: F.avg_pool2d(t, 2)),
              "keys and values are pooled by their mean. The authors' code takes the maximum: `F.max_pool2d`."),
        Wrong(lambda *a: _attend(*a, pool=lambda t: t),
              "keys and values are not pooled. That is the picture in the paper; the authors' code, and this lesson, "
              "pool them 2×2."),
        Wrong(lambda *a: _attend(*a, before=True),
              "x is pooled before the 1×1 convolutions. A maximum does not pass through a convolution with negative "
              "weights: convolve first."),
        Wrong(lambda x, *a: _attend(x, *a, back=lambda o: o.reshape(len(x), -1, *x.shape[2:])),
              "(B, positions, channels) was reshaped to a map without exchanging the two axes. The shape fits, and the "
              "channels are scrambled over the places: transpose first."),
    ],
    otherwise="q from x, k and v convolved and then pooled, softmax of q·k over the sources, the weighted mean of v "
              "back into a map, Wo, times gamma, plus x.",
    because="This is the equation, row by row: position j takes the mean of the values, weighted by the softmax of its "
            "query times all keys.")

# --- 08.4


def observe_size(answer, dice):
    """Several widths."""
    for channels in (8, 64, 128, 8 * int(torch.randint(2, 60, (), generator=dice))):
        yield f"parameters with C = {channels}", int(answer(channels))


def solve_size(C):
    return 2 * C * (C // 8) + 2 * C * (C // 2) + 1


def size_by_quarters(C):
    return 5 * C * C // 4 + 1


def size_by_counting(C):
    return sum(p.numel() for p in SelfAttention2d(C).parameters())


SIZE = Exercise(
    "08.4", "How large is the block?", minutes=5, difficulty=1,
    hints=["A 1×1 convolution from a to b channels without bias has a·b weights.",
           "Query and key: C to C/8. Value: C to C/2. Out: C/2 to C.",
           "Do not forget the one number that is no kernel."],
    observe=observe_size, solution=solve_size, others=[size_by_quarters, size_by_counting],
    wrong=[
        Wrong(lambda C: 5 * C * C // 4, "γ is missing: it is a parameter as well, a single one."),
        Wrong(lambda C: 2 * C * (C // 8) + C * (C // 2) + 1,
              "the last convolution, from C/2 back to C channels, is missing."),
        Wrong(lambda C: 2 * C * (C // 8) + 2 * C * (C // 2) + 2 * (C // 8) + C // 2 + C + 1,
              "you counted a bias for each output channel. The four convolutions have none."),
        Wrong(lambda C: 2 * C * (C // 8) + C * C + C * C + 1,
              "you gave the values C channels. In the authors' code they have C/2, and `out` goes from C/2 to C."),
        Wrong(lambda C: 9 * 5 * C * C // 4 + 1, "these are 3×3 kernels; the block has 1×1 kernels only."),
        Wrong(lambda C: C * (C // 8) + 2 * C * (C // 2) + 1, "query and key are two convolutions, not one."),
    ],
    otherwise="add the weights of four 1×1 convolutions without bias, and γ.",
    because="C·C/8 twice and C·C/2 twice make 1.25 C²; γ is the one.")

# --- 08.5


def observe_layers(answer, dice):
    """The letters, in any order."""
    yield "your letters", "".join(sorted({c for c in str(answer).lower() if c.isalpha()}))


ACTING = Exercise(
    "08.5", "Which of these layers does it change?", minutes=5, difficulty=2,
    hints=["Batch norm divides each channel by its own deviation. What does it do to an input that was divided by σ "
           "before?",
           "Go through the list and ask of each convolution: is the next thing that sees its output a batch norm?",
           "Three of the five have one behind them."],
    observe=observe_layers, solution="de",
    wrong=[
        Wrong("abcde", "each of them is divided by σ, but behind a, b and c batch norm divides each channel by its "
                       "deviation: a common factor before it leaves no trace."),
        Wrong("e", "the attention block has no batch norm inside: the scale of queries and keys decides how sharp the "
                   "softmax is."),
        Wrong("d", "the last convolution has no batch norm behind it, only tanh, and tanh does see the scale."),
        Wrong("abc", "the other way round: these are the three whose scale batch norm takes away."),
        Wrong("abce", "a, b and c stand before a batch norm, and the block, d, does not."),
        Wrong("", "none at all? Look for the layers that have no batch norm behind them."),
        Wrong("ade", "a has a batch norm behind it as well: that its input is the latent does not matter."),
    ],
    otherwise="two letters: the layers whose output is not seen by a batch norm first.",
    because="Batch norm gives the same output for y and for y/σ. In a, b and c spectral norm therefore changes neither "
            "the image nor the gradient of the raw weight; in the block and before tanh it does.")

# --- 08.6

VERDICT = Exercise(
    "08.6", "Which conclusion do the numbers allow?", minutes=5, difficulty=2,
    hints=["For each sentence ask: how many trainings stand behind it, and what else differs between the runs?",
           "The 12 epochs and the 50 epochs are not one curve: other networks, other numbers of images in the FID.",
           "With one training a model nobody knows how far two trainings of the *same* model lie apart."],
    solution="c",
    wrong=[
        Wrong("a", "this reads a difference of two trainings, one seed each, as the effect of the block. Nobody has "
                   "measured how far two seeds of one model lie apart at twelve epochs."),
        Wrong("b", "0.2 of FID, with one seed each, is no difference at all, and by KID the order is the other way "
                   "round."),
        Wrong("d", "it sounds plausible, but the two tables compare different networks: the 12-epoch pair is SAGAN's "
                   "own, the 50-epoch pair is DCGAN's with blocks put in. Only one pair, trained twice as long, could "
                   "tell."),
        Wrong("e", "nine trainings with three seeds each do say something: on toy birds the intervals do not touch. "
                   "That is a finding about toy birds."),
    ],
    otherwise="one letter, a to e.",
    because="On toy birds three seeds and a control stand behind the difference. On CIFAR-10 there is one training a "
            "model, and the two pairs are of different networks.")

LESSON = Lesson("08", "SAGAN", [POWER, LENGTH, ATTENTION, SIZE, ACTING, VERDICT])
