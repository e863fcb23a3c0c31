"""Exercises of lesson 07: the distance, its statistics and its bias, KID, precision and recall, reading a table."""
import torch

from .. import fid
from ._judge import Exercise, Lesson, Wrong

# --- 07.1


def covariance(d, dice, rank=None):
    """A random covariance of d dimensions; with a small rank it is singular."""
    x = torch.randn(rank or d + 2, d, generator=dice, dtype=torch.float64)
    return x.T @ x / len(x)


def observe_frechet(answer, dice):
    """Equal Gaussians, a shift, independent dimensions, matrices that do not commute, singular ones."""
    mu, shift = torch.randn(2, 3, generator=dice, dtype=torch.float64)
    cov1, cov2 = covariance(3, dice), covariance(3, dice)
    spreads = torch.tensor([[1., 4., 9.], [9., 4., 1.]], dtype=torch.float64)
    yield "the distance where only the means differ, by 3 and 4", answer(
        torch.zeros(2), torch.eye(2), torch.tensor([3., 4.]), torch.eye(2))
    yield "the distance of two diagonal covariances, variances 1, 4, 9 and 9, 4, 1", answer(
        mu, spreads[0].diag(), mu, spreads[1].diag())
    yield "the distance of a Gaussian to itself", answer(mu, cov1, mu, cov1)
    yield "the distance of two random Gaussians", answer(mu, cov1, mu + shift, cov2)
    yield "the distance of the same two, the other way round", answer(mu + shift, cov2, mu, cov1)
    few = [covariance(12, dice, rank=2) for _ in range(4)]
    yield "distances where the covariances are singular", [
        answer(torch.zeros(12), a, torch.ones(12), b) for a, b in zip(few, few[1:], strict=False)]



def solve_frechet(mu1, cov1, mu2, cov2):
    values, vectors = torch.linalg.eigh(cov1)
    half = vectors * values.clamp_min(0).sqrt()  # half @ half.T = cov1
    root_trace = torch.linalg.eigvalsh(half.T @ cov2 @ half).clamp_min(0).sqrt().sum()
    return (mu1 - mu2).square().sum() + cov1.trace() + cov2.trace() - 2 * root_trace


def frechet_by_complex_roots(mu1, cov1, mu2, cov2):
    roots = torch.linalg.eigvals(cov1 @ cov2).sqrt().real
    return ((mu1 - mu2)**2).sum() + (cov1 + cov2).trace() - 2 * roots.sum()


def frechet_by_singular_values(mu1, cov1, mu2, cov2):
    def half(cov):
        values, vectors = torch.linalg.eigh(cov)
        return vectors * values.clamp_min(0).sqrt()
    roots = torch.linalg.svdvals(half(cov1).T @ half(cov2))
    return ((mu1 - mu2)**2).sum() + (cov1 + cov2).trace() - 2 * roots.sum()


def frechet_with(root_trace, squares=lambda d: d.square().sum(), factor=2.):
    """The formula with another root, another term of the means, another factor."""
    def frechet(mu1, cov1, mu2, cov2):
        return squares(mu1 - mu2) + cov1.trace() + cov2.trace() - factor * root_trace(cov1, cov2)
    return frechet


def right_root(cov1, cov2):
    return torch.linalg.eigvals(cov1 @ cov2).sqrt().real.sum()


def unclamped_root(cov1, cov2):
    values, vectors = torch.linalg.eigh(cov1)
    half = vectors * values.sqrt()
    return torch.linalg.eigvalsh(half.T @ cov2 @ half).sqrt().sum()


def frechet_of_variances(mu1, cov1, mu2, cov2):
    return ((mu1 - mu2)**2).sum() + ((cov1.diag().sqrt() - cov2.diag().sqrt())**2).sum()


FRECHET = Exercise(
    "07.1", "The Fréchet distance", minutes=10, difficulty=2,
    hints=["Three of the four terms are one call each: `.square().sum()` for the means, `.trace()` for the two "
           "covariances. The work is in the trace of the root.",
           "The trace of a root is the sum of the roots of the eigenvalues. `torch.linalg.eigvals(cov1 @ cov2)` gives "
           "the eigenvalues of the product, as complex numbers with imaginary parts of rounding.",
           "`torch.linalg.eigvals(cov1 @ cov2).sqrt().real.sum()` is the trace of the root; it is taken off twice."],
    observe=observe_frechet, solution=solve_frechet, others=[frechet_by_complex_roots, frechet_by_singular_values],
    use=fid.frechet_distance,
    wrong=[
        Wrong(frechet_with(lambda a, b: (a @ b).sqrt().trace()),
              "`sqrt` takes the root of each *entry*. The root of a matrix M is the matrix R with R @ R = M; its trace "
              "is the sum of the roots of M's eigenvalues."),
        Wrong(frechet_with(lambda a, b: (a.sqrt() @ b.sqrt()).trace()),
              "this takes the root of each *entry* of the two covariances, and negative entries have none. The root of "
              "a matrix M is the matrix R with R @ R = M."),
        Wrong(frechet_of_variances,
              "this looks at the variances alone. It is right for diagonal covariances; two clouds that lean in "
              "different directions are at distance 0 by it."),
        Wrong(frechet_with(right_root, factor=1.),
              "the root counts twice: check a Gaussian against itself, where the root of Σ·Σ is Σ and all has to "
              "cancel."),
        Wrong(frechet_with(right_root, squares=lambda d: d.square().sum().sqrt()),
              "the means enter by their *squared* distance. A shift by (3, 4) costs 25, not 5: moving by t costs t²."),
        Wrong(lambda *a: solve_frechet(*a).clamp_min(0).sqrt(),
              "this is the root of it. F is a squared distance, and so is every FID that is reported."),
        Wrong(frechet_with(lambda a, b: (a @ b).trace().sqrt()),
              "this is the root of the trace. Take the root first: of each eigenvalue, then the sum."),
        Wrong(frechet_with(lambda a, b: (torch.linalg.eigvalsh(a).clamp_min(0)
                                         * torch.linalg.eigvalsh(b).clamp_min(0)).sqrt().sum()),
              "this multiplies the eigenvalues of the one matrix with those of the other. The eigenvalues of a product "
              "are such products only where the two matrices share their eigenvectors."),
        Wrong(frechet_with(unclamped_root),
              "right, until a covariance is singular: then rounding gives eigenvalues like -1e-17, and their root is "
              "NaN. Clamp them at 0 before you take the root."),
        Wrong(frechet_with(lambda a, b: torch.linalg.eigvals(a @ b).real.sqrt().sum()),
              "right, until a covariance is singular: an eigenvalue of 0 comes out as -1e-17, and its root is NaN. "
              "Take the root of the complex number first and its real part then, or clamp at 0."),
    ],
    otherwise="|mu1 - mu2|² + tr(cov1) + tr(cov2) - 2 tr((cov1 cov2)^½), with the trace of the root as the sum of the "
              "roots of the eigenvalues.",
    because="cov1 cov2 and half.T cov2 half have the same eigenvalues, and the second matrix is symmetric: its "
            "eigenvalues are real and, but for rounding, not negative.")

# --- 07.2


def moments(x):
    return len(x), x.mean(0), x.T.cov()


def observe_merge(answer, dice):
    """Parts of unequal sizes and means, of equal means, of two images each, far from 0; three in a row."""
    def part(n, shift=0.): return torch.randn(n, 3, generator=dice, dtype=torch.float64) + shift
    cases = {"9 and 5 images with different means": (part(9), part(5, 2.)), "2 and 2 images": (part(2), part(2)),
             "4 and 20 images far from 0": (part(4, 1e4), part(20, 1e4))}
    for name, (x, y) in cases.items():
        n, mean, cov = answer(*moments(x), *moments(y))
        yield f"n for {name}", n
        yield f"the mean for {name}", mean
        yield f"the covariance for {name}", cov
    x, y, z = part(6), part(3, 1.), part(8, -1.)
    yield "n, mean and covariance of three parts", list(answer(*answer(*moments(x), *moments(y)), *moments(z)))


def solve_merge(n1, mean1, cov1, n2, mean2, cov2):
    n, shift = n1 + n2, mean2 - mean1
    mean = mean1 + n2 / n * shift
    scatter = (n1 - 1) * cov1 + (n2 - 1) * cov2 + n1 * n2 / n * torch.outer(shift, shift)
    return n, mean, scatter / (n - 1)


def merge_by_scatter_around_the_whole(n1, mean1, cov1, n2, mean2, cov2):
    n = n1 + n2
    mean = (n1 * mean1 + n2 * mean2) / n
    scatter = sum((m - 1) * c + m * torch.outer(a - mean, a - mean)
                  for m, a, c in ((n1, mean1, cov1), (n2, mean2, cov2)))
    return n, mean, scatter / (n - 1)


def merge_by_class(n1, mean1, cov1, n2, mean2, cov2):
    def loaded(n, mean, cov):
        m = fid.Moments()
        m.n, m._mean, m._scatter = n, mean.clone(), (n - 1) * cov
        return m
    m = loaded(n1, mean1, cov1).merge(loaded(n2, mean2, cov2))
    return m.n, m.mean, m.cov


def wrong_merge(scatter, mean=None, divide=lambda n: n - 1):
    def merge(n1, mean1, cov1, n2, mean2, cov2):
        n = n1 + n2
        m = (n1 * mean1 + n2 * mean2) / n if mean is None else mean(mean1, mean2)
        return n, m, scatter(n1, cov1, n2, cov2, torch.outer(mean2 - mean1, mean2 - mean1)) / divide(n)
    return merge


def right_scatter(n1, cov1, n2, cov2, between):
    return (n1 - 1) * cov1 + (n2 - 1) * cov2 + n1 * n2 / (n1 + n2) * between


MERGE = Exercise(
    "07.2", "Statistics in parts", minutes=8, difficulty=2,
    hints=["A covariance cannot be added, a sum can. The scatter of a part, the sum of (x - mean)(x - mean)ᵀ, is "
           "(n - 1) times its covariance.",
           "Around the common mean a part has more scatter than around its own: by n times the outer product of the "
           "difference of the two means.",
           "For both parts together the extra scatter is n1·n2/(n1 + n2) times the outer product of mean2 - mean1 with "
           "itself. Divide the whole by n1 + n2 - 1."],
    observe=observe_merge, solution=solve_merge, others=[merge_by_scatter_around_the_whole, merge_by_class],
    wrong=[
        Wrong(wrong_merge(lambda n1, c1, n2, c2, between: (n1 - 1) * c1 + (n2 - 1) * c2),
              "the covariance misses what lies *between* the parts: if each of them is a tight cloud at another place, "
              "the whole is wide."),
        Wrong(wrong_merge(right_scatter, lambda a, b: (a + b) / 2),
              "the mean is the middle of the two means. A part with more images counts more: weigh by n1 and n2."),
        Wrong(wrong_merge(right_scatter, divide=lambda n: n),
              "this divides by n: the biased covariance. The parts were divided by n - 1, and so is the whole."),
        Wrong(wrong_merge(lambda n1, c1, n2, c2, between: n1 * c1 + n2 * c2 + n1 * n2 / (n1 + n2) * between),
              "n times a covariance is not the scatter: the covariances were divided by n - 1, so take (n1 - 1) and "
              "(n2 - 1)."),
        Wrong(wrong_merge(lambda n1, c1, n2, c2, between: n1 * c1 + n2 * c2 + n1 * n2 / (n1 + n2) * between,
                          divide=lambda n: n),
              "this is right for covariances that were divided by n. These were divided by n - 1, as "
              "`Tensor.cov` and numpy do it."),
        Wrong(lambda n1, m1, c1, n2, m2, c2: (n1 + n2, (n1 * m1 + n2 * m2) / (n1 + n2), c1 + c2),
              "covariances do not add up, any more than means do. Sums add up: turn each covariance back into a "
              "scatter."),
        Wrong(wrong_merge(lambda n1, c1, n2, c2, between: (n1 - 1) * c1 + (n2 - 1) * c2 + between),
              "the outer product of the difference of the means has to be weighed by n1·n2/(n1 + n2): what is between "
              "two large parts counts more than what is between two small ones."),
    ],
    otherwise="n = n1 + n2; the mean weighed by n1 and n2; scatter = (n1 - 1) cov1 + (n2 - 1) cov2 + n1 n2/n times the "
              "outer product of the means' difference; divide by n - 1.",
    because="Σ(x - m)(x - m)ᵀ over one part is its own scatter plus n1 (m1 - m)(m1 - m)ᵀ, since the mixed terms sum "
            "to 0. With m1 - m = n2/n (m1 - m2) the two extra terms make n1 n2/n (Chan, Golub, LeVeque 1983).")

# --- 07.3

BIAS = Exercise(
    "07.3", "Four times as many images", minutes=4, difficulty=1,
    hints=["Each entry of the mean and of the covariance is off by about 1/√N. How does the distance depend on these "
           "errors, linearly or by their squares?",
           "The distance is a squared distance, so its error goes like the square of 1/√N."],
    solution=.255, rtol=.1,
    wrong=[
        Wrong(1.02, "this says that the number of images does not matter. Each sample's mean and covariance are off by "
                    "chance, and every error makes the distance larger, never smaller; with more images the errors "
                    "shrink."),
        Wrong(.51, "errors of a mean shrink like 1/√N, and four times as many images halve them. But the distance is "
                   "a *squared* distance."),
        Wrong(0., "0 is the true distance. It would be measured with infinitely many images only."),
        Wrong(4.08, "it falls: more images estimate means and covariances better, and what is added to the true "
                    "distance is their error."),
        Wrong(2.04, "it falls: more images estimate means and covariances better, and what is added is their error, "
                    "squared."),
        Wrong(.064, "this divides by 16, the square of the factor. The errors shrink like 1/√N, their squares "
                    "like 1/N."),
    ],
    otherwise="errors of means and covariances shrink like 1/√N, and the distance adds up their squares.",
    because="The expected distance is a constant over N, so four times as many images leave a quarter: 1.02/4.")

# --- 07.4


def observe_kid(answer, dice):
    """Unequal sizes, dimensions that tell x·y from x·y/d, a set beside itself, numbers by hand."""
    def cloud(n, d, shift=0.): return torch.randn(n, d, generator=dice, dtype=torch.float64) + shift
    hand = torch.tensor([[0.], [1.], [2.]], dtype=torch.float64)
    yield "KID of 0, 1, 2 and 0, 1, 2 in one dimension", answer(hand, hand)
    yield "KID of 7 and 5 random features of 4 dimensions", answer(cloud(7, 4), cloud(5, 4, .5))
    yield "KID of 6 and 9 random features of 2 dimensions, far apart", answer(cloud(6, 2), cloud(9, 2, 3.))
    x = cloud(6, 8)
    yield "KID of a set and its copy", answer(x, x.clone())


def solve_kid(x, y):
    def kernel(a, b): return (a @ b.T / a.shape[1] + 1)**3

    def within(a):
        k, n = kernel(a, a), len(a)
        return (k.sum() - k.trace()) / (n * (n - 1))
    return within(x) + within(y) - 2 * kernel(x, y).mean()


def kid_by_masks(x, y):
    def mean(a, b, same):
        k = (torch.einsum("id,jd->ij", a, b) / a.shape[1] + 1).pow(3)
        return k[~torch.eye(len(a), dtype=torch.bool)].mean() if same else k.mean()
    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


def kid_by_loops(x, y):
    def k(a, b): return (a.dot(b) / len(a) + 1)**3

    def within(a):
        return sum(k(p, q) for i, p in enumerate(a) for j, q in enumerate(a) if i != j) / (len(a)**2 - len(a))
    return within(x) + within(y) - 2 * sum(k(p, q) for p in x for q in y) / (len(x) * len(y))


def kid_with(kernel=lambda a, b: (a @ b.T / a.shape[1] + 1)**3, diagonal=False, pairs=lambda n: n * (n - 1), cross=2.):
    """KID with one thing changed."""
    def kid(x, y):
        def within(a):
            k = kernel(a, a)
            return (k.sum() - (0 if diagonal else k.trace())) / pairs(len(a))
        return within(x) + within(y) - cross * kernel(x, y).mean()
    return kid


def kid_without_own_index(x, y):
    k, m = (x @ y.T / x.shape[1] + 1)**3, min(len(x), len(y))
    across = (k.sum() - k.diagonal().sum()) / (k.numel() - m)
    return solve_kid(x, y) + 2 * k.mean() - 2 * across


KID = Exercise(
    "07.4", "KID", minutes=8, difficulty=2,
    hints=["Write a helper kernel(a, b) first: one matrix product gives all dot products at once, (n,d) times (d,m).",
           "Within a set an image must not meet itself: take the diagonal away from the sum, and count the pairs that "
           "are left. An n × n table has n·(n - 1) entries off its diagonal.",
           "within(a) is (k.sum() - k.trace()) / (n * (n - 1)) with k = kernel(a, a). KID is within(x) + within(y) - "
           "2 * kernel(x, y).mean()."],
    observe=observe_kid, solution=solve_kid, others=[kid_by_masks, kid_by_loops], use=fid.kid,
    wrong=[
        Wrong(kid_with(diagonal=True, pairs=lambda n: n * n),
              "an image is compared with itself (i = j): each set then looks more alike within than it is, and the "
              "estimate is biased, always above 0 for two sets of one distribution."),
        Wrong(kid_with(pairs=lambda n: n * n),
              "the diagonal is gone from the sum, but not from the count: there are n·(n - 1) pairs of different "
              "images, not n²."),
        Wrong(kid_with(diagonal=True),
              "the count leaves the diagonal out, the sum does not: take k.trace() away before dividing."),
        Wrong(kid_with(pairs=lambda n: 1),
              "this is the sum over the pairs within a set, not their mean: divide by n·(n - 1)."),
        Wrong(kid_with(lambda a, b: (a @ b.T + 1)**3),
              "the kernel misses the division by d: dot products grow with the number of dimensions, and the cube of "
              "them even more."),
        Wrong(kid_with(lambda a, b: (a @ b.T / a.shape[1])**3),
              "the kernel misses the 1. With it the cube holds first, second and third powers, so the means and "
              "covariances are compared, too, and not the third moments alone."),
        Wrong(kid_with(lambda a, b: (a @ b.T / a.shape[1] + 1)**2),
              "the kernel is a cube: k(x, y) = (x·y/d + 1)³."),
        Wrong(kid_with(cross=1.),
              "the pairs across count twice: (a - b)² = a² + b² - 2ab."),
        Wrong(kid_without_own_index,
              "across the two sets every pair counts: x number i and y number i are two different images. Only within "
              "a set is the diagonal left out."),
    ],
    otherwise="mean of k over pairs of different images within x, the same within y, minus twice the mean of k across.",
    because="Pairs of two different images are independent, so each mean has the expectation of the true value, and so "
            "has KID. k(x, x) is not of that kind: it is larger on average.")

# --- 07.5


def observe_neighbours(answer, dice):
    """Unequal sizes, a tight cluster inside the data, other k, a point on the rim, copies."""
    def cloud(n, width=1., shift=0.): return width * torch.randn(n, 2, generator=dice, dtype=torch.float64) + shift
    real, wide, tight = cloud(20), cloud(15, 2.), cloud(12, .1)
    line = torch.tensor([[0.], [1.], [3.], [7.]], dtype=torch.float64)
    yield "precision and recall for 20 real and 15 fakes that are too wild, k = 3", list(answer(real, wide, 3))
    yield "precision and recall for a tight cluster of fakes inside the data, k = 3", list(answer(real, tight, 3))
    yield "precision and recall for the wild fakes with k = 1", list(answer(real, wide, 1))
    yield "precision and recall for real 0, 1, 3, 7 and fakes 2, 5, 11, 30 on a line, k = 1", list(
        answer(line, torch.tensor([[2.], [5.], [11.], [30.]], dtype=torch.float64), 1))
    yield "precision and recall for copies of the real images", list(answer(real, real.clone(), 2))


def share_inside(points, centres, k):
    radius = torch.cdist(centres, centres).kthvalue(k + 1, dim=1).values  # the nearest is the centre itself
    return (torch.cdist(points, centres) <= radius).any(1).double().mean()


def solve_neighbours(real, fake, k):
    return share_inside(fake, real, k), share_inside(real, fake, k)


def neighbours_by_sorting(real, fake, k):
    def squares(a, b): return ((a[:, None] - b[None])**2).sum(2)
    real_radius, fake_radius = (squares(x, x).sort(1).values[:, k] for x in (real, fake))
    d = squares(real, fake)
    return ((d <= real_radius[:, None]).any(0).double().mean(), (d <= fake_radius[None]).any(1).double().mean())


def neighbours_by_loops(real, fake, k):
    def inside(point, centres):
        return any((point - c).norm() <= sorted((c - other).norm() for other in centres)[k] for c in centres)
    return (sum(inside(f, real) for f in fake) / len(fake), sum(inside(r, fake) for r in real) / len(real))


def neighbours_of_course(real, fake, k):
    """As the package counts."""
    values = fid.prdc(real, fake, k)
    return values["precision"], values["recall"]


def neighbours_with(share):
    """Precision and recall by another rule of what is inside."""
    return lambda real, fake, k: (share(fake, real, k), share(real, fake, k))


def radii(x, k):
    return torch.cdist(x, x).kthvalue(k + 1, dim=1).values


def own_balls(points, centres, k):
    return (torch.cdist(points, centres) <= radii(points, k)[:, None]).any(1).double().mean()


def counts_itself(points, centres, k):
    radius = torch.cdist(centres, centres).kthvalue(k, dim=1).values
    return (torch.cdist(points, centres) <= radius).any(1).double().mean()


def nearest_ball(points, centres, k):
    distance, nearest = torch.cdist(points, centres).min(1)
    return (distance <= radii(centres, k)[nearest]).double().mean()


def squared_against_plain(points, centres, k):
    return (torch.cdist(points, centres)**2 <= radii(centres, k)).any(1).double().mean()


def one_radius(points, centres, k):
    return (torch.cdist(points, centres) <= radii(centres, k).mean()).any(1).double().mean()


def all_balls(points, centres, k):
    return (torch.cdist(points, centres) <= radii(centres, k)).double().mean()


def strictly(points, centres, k):
    return (torch.cdist(points, centres) < radii(centres, k)).any(1).double().mean()


NEIGHBOURS = Exercise(
    "07.5", "Precision and recall", minutes=9, difficulty=3,
    hints=["Write one function share_inside(points, centres, k) and call it twice: precision and recall differ only in "
           "which set has the balls.",
           "`torch.cdist(a, b)` gives all distances, a row for each a. In the distances of a set to itself the "
           "smallest of each row is 0, the point itself; the k-th neighbour is the (k + 1)-th smallest: "
           "`.kthvalue(k + 1, dim=1).values`.",
           "share_inside is (cdist(points, centres) <= radius).any(1).double().mean(), with a radius for each centre. "
           "Precision: fakes inside the balls of the real images. Recall: real images inside the balls of the fakes."],
    observe=observe_neighbours, solution=solve_neighbours,
    others=[neighbours_by_sorting, neighbours_by_loops, neighbours_of_course],
    wrong=[
        Wrong(lambda real, fake, k: solve_neighbours(fake, real, k),
              "the two are swapped. Precision asks of each *fake* whether it looks real, so the balls are those of the "
              "real images."),
        Wrong(neighbours_with(counts_itself),
              "a point counts as its own neighbour: the smallest distance of a row is 0, that to itself, so the k-th "
              "neighbour is the (k + 1)-th smallest."),
        Wrong(neighbours_with(own_balls),
              "the balls belong to the wrong set: for precision they are drawn around the real images, to their k-th "
              "*real* neighbour. A stray fake has a huge ball of its own, and would always be inside."),
        Wrong(neighbours_with(nearest_ball),
              "this asks the nearest centre alone. The region is the union of all balls: a point may lie outside the "
              "small ball of its nearest centre and inside the large one of another."),
        Wrong(neighbours_with(squared_against_plain),
              "squared distances are compared with radii that are not squared. Square both, or neither."),
        Wrong(neighbours_with(one_radius),
              "all balls have one radius, the mean. Each centre has its own: small where the data are dense, large "
              "where they are thin."),
        Wrong(neighbours_with(all_balls),
              "this averages over all balls. A point counts once, as soon as it lies in *any* ball: `.any(1)` before "
              "the mean."),
        Wrong(neighbours_with(strictly),
              "a point on the rim counts as inside here (Kynkäänniemi et al. use ≤): copies of real images are then "
              "inside even where a radius is 0."),
        Wrong(lambda real, fake, k: (share_inside(fake, real, k), share_inside(fake, real, k)),
              "both numbers are the precision. For recall the balls are drawn around the fakes, and the real images "
              "are asked."),
    ],
    otherwise="a ball around each real image to its k-th nearest real neighbour, itself not counted; precision is the "
              "share of fakes in any of them; recall the same with the two sets exchanged.",
    because="The union of the balls stands for the region where real images lie (Kynkäänniemi et al. 2019, section "
            "3). Recall is the same question with the roles exchanged.")

# --- 07.6

TABLE = Exercise(
    "07.6", "Which FIDs may stand side by side?", minutes=5, difficulty=2,
    hints=["Go through the protocol from left to right: extractor, number of fakes, number and split of the real "
           "images. One difference is enough.",
           "Whether two numbers may be compared is one question, and whether their difference means anything is "
           "another. Only the first is asked."],
    solution="nnyny",
    wrong=[
        Wrong("ynyny", "statement 1: nobody knows how many images the report compared with how many, so that even a "
                       "threefold difference proves nothing."),
        Wrong("nyyny", "statement 2: 50,000 fakes stand beside 10,000. The bias alone makes the second number larger: "
                       "for C and for A it was one and the same network."),
        Wrong("nnnny", "statement 3: both have 50,000 fakes, all 50,000 training images and Inception. Another "
                       "author's number may stand beside ours if the protocol is the same."),
        Wrong("nnyyy", "statement 4: another network has another scale. 0.27 of the small extractor is no FID, and "
                       "it is neither better nor worse than one."),
        Wrong("nnynn", "statement 5: the protocol is the same, so the two may be compared. What follows from 1.6 with "
                       "one training each is another question, and the answer is: nothing yet."),
        Wrong("nnnnn", "so strict that nothing is left: statements 3 and 5 have one protocol on both sides."),
        Wrong("yyyyy", "a number alone says nothing. Look at the columns of the protocol: they differ in 1, 2 and 4."),
        Wrong("yynyn", "this is the right answer with y and n exchanged: y is for pairs that may be compared."),
        Wrong("yyyny", "statement 1 has an unknown protocol, and statement 2 sets 50,000 fakes beside 10,000."),
    ],
    otherwise="five letters, y or n: are extractor, number of fakes, and number and split of the real images the same "
              "on both sides?",
    because="1: unknown protocol. 2: 50,000 fakes against 10,000. 3: the same protocol. 4: another extractor. 5: the "
            "same protocol; with one training each, the difference of 1.6 is undecided all the same.")

LESSON = Lesson("07", "Measuring generators", [FRECHET, MERGE, BIAS, KID, NEIGHBOURS, TABLE])
