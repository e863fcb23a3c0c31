"""What one can believe of walks, planes, truncation and copies."""
from . import Mutant

MUTANTS = [
    Mutant("latent", "torch.where(sin > 1e-9, across / sin.clamp_min(1e-9), _right_angle(u))", "across / sin",
           "test_latent.py::test_slerp_survives_every_pair_of_directions",
           "Two latents are never parallel or opposite."),
    Mutant("latent", "z = torch.lerp(long_a, long_b, t) *", "z = long_a *",
           "test_latent.py::test_slerp_survives_every_pair_of_directions",
           "All latents lie on one sphere, so a walk keeps the length of its first."),
    Mutant("latent", "return torch.lerp(a, b, _number(t, a, b))",
           "return a + t * (b - a)",
           "test_latent.py::test_walks_meet_their_points_exactly",
           "a + 1·(b − a) is b in floating point, too."),
    Mutant("latent", "return torch.special.ndtri(quantile).clamp(-limit, limit)", "return z.clamp(-limit, limit)",
           "test_latent.py::test_truncation_has_the_truncated_distribution",
           "To truncate is to clamp."),
    Mutant("latent", "torch.minimum(plain, mirror).topk", "plain.topk",
           "test_latent.py::test_nearest_images_do_not_depend_on_the_batch",
           "A mirrored copy is no copy."),
    Mutant("latent", "found.flip(-1), found)", "found, found)",
           "test_latent.py::test_a_mirrored_neighbour_is_given_mirrored",
           "The near image may be shown unmirrored: it is the same photograph."),
]
