"""Guards of the latents: interpolation at the edges, walks, planes, truncation, nearest images, chunks, mirrors."""
import math

import pytest
import torch

from gan_course import latent as L
from gan_course.core import InputError, seeded


class Means:
    """An extractor that a test can compute by hand: the means of the left and of the right half."""
    name, dim = "means", 2
    def __call__(self, images):
        left, right = images.float().chunk(2, -1)
        return torch.stack([left.mean((1, 2, 3)), right.mean((1, 2, 3))], 1)


def latents(n, d=100, seed=0): return torch.randn(n, d, generator=seeded(seed))


def halves(left, right):
    image = torch.empty(3, 4, 4, dtype=torch.uint8)
    image[..., :2], image[..., 2:] = left, right
    return image


@pytest.mark.parametrize("d", [2, 3, 100])
@pytest.mark.parametrize("scale", [1., 1e-3, 1e3, 1 + 1e-7])
def test_slerp_survives_every_pair_of_directions(d, scale):
    a, t = latents(50, d), torch.linspace(0, 1, 9)[:, None, None]
    nearly = a + 1e-6 * latents(50, d, 1)
    for b in (a * scale, -a * scale, nearly, -nearly, latents(50, d, 2) * scale):
        z = L.slerp(a, b, t)
        norms = torch.lerp(a.norm(dim=1), b.norm(dim=1), t[..., 0])
        assert z.isfinite().all() and torch.allclose(z.norm(dim=-1), norms, rtol=1e-4)


def test_slerp_turns_by_equal_angles():
    z = L.slerp(latents(1)[0], latents(1, seed=1)[0] * 2, torch.linspace(0, 1, 11)[:, None])
    cos = torch.cosine_similarity(z[1:], z[:-1])
    assert torch.allclose(cos, cos[:1], atol=1e-5)


def test_slerp_with_the_origin_and_in_one_dimension_is_finite():
    a, zero = latents(1)[0], torch.zeros(100)
    assert torch.allclose(L.slerp(a, zero, .25), a * .75, atol=1e-5)
    assert torch.allclose(L.slerp(zero, a, .25), a / 4, atol=1e-5)
    assert L.slerp(zero, zero, .5).norm() == 0
    for b in (1., -1.): assert L.slerp(torch.ones(1), torch.tensor([b]), .5).isfinite().all()


@pytest.mark.parametrize("path", [L.lerp, L.slerp])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_walks_meet_their_points_exactly(path, dtype):
    points = latents(5).to(dtype)
    tour = L.walk(points, 7, path)
    assert tour.dtype == dtype and torch.equal(tour[::7], points) and len(tour) == 29
    assert torch.equal(path(points[0], points[1], 1.), points[1])
    assert torch.equal(path(points[0], points[1], 0), points[0])
    assert torch.allclose(tour[3], path(points[0], points[1], 3 / 7))


def test_a_plane_keeps_the_lengths_of_its_corners_and_survives_the_origin():
    a, b, c = latents(3) * torch.tensor([[1.], [2.], [.5]])
    grid = L.latent_grid(a, b, c, 3, 5)
    for i, corner in ((0, a), (4, b), (10, c)): assert torch.allclose(grid[i], corner, atol=1e-4)
    assert grid[2].norm() == pytest.approx((a.norm() + b.norm()).item() / 2, rel=1e-4)
    flat = L.latent_grid(a, b, c, 3, 5, shell=False)
    assert torch.allclose(flat[12], c + (b - a) / 2, atol=1e-5)  # the last row, in the middle
    assert L.on_plane(a, -a, c, .5, 0.).isfinite().all()


@pytest.mark.parametrize("limit", [.01, .5, 2., 12.])
def test_truncation_has_the_truncated_distribution(limit):
    z = latents(2000)
    cut = L.truncate(z, limit)
    assert cut.abs().max() <= limit + 1e-6
    phi = torch.distributions.Normal(0., 1.)
    density = math.exp(phi.log_prob(torch.tensor(limit)))
    expected = 1 - 2 * limit * density / math.erf(limit / math.sqrt(2))  # its variance
    assert cut.var().item() == pytest.approx(expected, rel=.02)
    assert ((cut[0].argsort() == z[0].argsort()).all()) and (cut * z >= 0).all()  # each keeps its rank and its sign
    if limit > 9: assert torch.allclose(cut, z, atol=1e-5)


def test_nearest_images_do_not_depend_on_the_batch():
    real = torch.randint(0, 256, (40, 3, 4, 4), dtype=torch.uint8, generator=seeded(1))
    images = torch.randint(0, 256, (300, 3, 4, 4), dtype=torch.uint8, generator=seeded(2))
    found = L.nearest_real(images, real, 3, Means())
    f, plain, mirror = (Means()(x).double() for x in (images, real, real.flip(-1)))
    d = torch.minimum(torch.cdist(f, plain), torch.cdist(f, mirror))
    assert torch.equal(found.index, d.argsort(1)[:, :3])
    assert torch.allclose(found.distance, d.sort(1).values[:, :3].float(), atol=1e-4)
    alone = L.nearest_real(images[270:271], real, 3, Means())
    assert torch.equal(alone.index, found.index[270:271]) and torch.equal(alone.mirrored, found.mirrored[270:271])


def test_a_mirrored_neighbour_is_given_mirrored():
    real = torch.stack([halves(0, 200), halves(90, 100)])
    found = L.nearest_real(torch.stack([halves(200, 0), halves(0, 200)]), real, extractor=Means())
    assert found.index.flatten().tolist() == [0, 0] and found.mirrored.flatten().tolist() == [True, False]
    assert torch.equal(found.images(real), torch.stack([halves(200, 0), halves(0, 200)]))
    pair = L.nearest_real(halves(200, 0)[None], real, 2, Means())  # an image and its own mirror image count once
    assert pair.index.tolist() == [[0, 1]]
    last = L.nearest_real(halves(200, 0)[None], torch.stack([halves(100, 90), halves(0, 200)]), extractor=Means())
    assert last.index.tolist() == [[1]] and last.mirrored.tolist() == [[True]]


def test_grey_images_and_bad_input():
    grey = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8, generator=seeded(0))
    assert L.nearest_real(grey, grey).index.flatten().tolist() == [0, 1, 2, 3]
    for wrong, word in (
        (lambda: L.nearest_real(grey, grey, 5), "between 1 and 4"),
        (lambda: L.nearest_real(grey, grey, 0), "between 1 and 4"),
        (lambda: L.nearest_real(grey.float(), grey), r"\[-1,1\]"),
        (lambda: L.truncate(latents(1), 0.), "above 0"),
        (lambda: L.truncate(latents(1), math.nan), "above 0"),
        (lambda: L.truncate(grey, 1.), "floating point"),
        (lambda: L.walk(latents(1), 3), "from 2 on"),
        (lambda: L.walk(latents(3), 0), "at least 1"),
        (lambda: L.walk(latents(3), 10**8), "latents were asked for: at most"),
        (lambda: L.latent_grid(*latents(3), rows=10**6, cols=10**3), "latents were asked for: at most"),
        (lambda: L.latent_grid(*latents(3), rows=0), "at least 1"),
        (lambda: L.lerp(latents(2), latents(3), .5), "do not fit together"),
        (lambda: L.slerp(latents(2), latents(2).double(), .5), "float64 .* do not fit together"),
        (lambda: L.slerp(latents(2), latents(2), torch.tensor(math.nan)), "finite"),
        (lambda: L.on_plane(*latents(3), torch.zeros(2, 1), torch.zeros(3, 1)), "shape|fit"),
        (lambda: L.truncate(latents(2) * math.inf, 1.), "NaN or infinities"),
        (lambda: L.nearest_real(grey, grey).images(grey[:1]), "not those searched"),
    ):
        with pytest.raises(InputError, match=word): wrong()
