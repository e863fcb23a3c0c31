"""What lesson 05 sees of a learner's networks, and the right and wrong ones that they are compared with."""
import torch
from torch import nn

from ..core import seeded
from ..dcgan import Discriminator, Generator


def leaves(network, x):
    """The layers in the order in which they are run, each with its output."""
    run, hooks = [], []
    for layer in network.modules():
        if next(layer.children(), None) is None:
            hooks.append(layer.register_forward_hook(lambda m, _, out: run.append((m, out.detach().clone()))))
    y = network(x)
    for hook in hooks: hook.remove()
    return y, run


@torch.no_grad()
def refill(run):
    """Weights that depend on shape and place alone, so that equal networks compute the same."""
    for i, (layer, _) in enumerate(run):
        if isinstance(layer, nn.BatchNorm2d): layer.reset_running_stats()
        for j, p in enumerate(layer.parameters(recurse=False)):
            p.copy_(.3 * torch.randn(p.shape, generator=seeded(i, j)) + (p.ndim == 1 and j == 0))


SHAPING = (nn.Flatten, nn.Unflatten, nn.Identity)


def observe_network(network, x):
    """Shape, parameters, maps, order, and what comes out with given weights."""
    yield "whether it is one nn.Sequential of single layers", isinstance(network, nn.Sequential) and not any(
        isinstance(layer, nn.Sequential) for layer in network)
    y, run = leaves(network, x)
    run = [(layer, out) for layer, out in run if not isinstance(layer, SHAPING)]
    yield "the shape of what comes out", list(y.shape)
    yield "height of the maps after each layer with a kernel", [
        out.shape[2] for layer, out in run if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    yield "the number of parameters", sum(p.numel() for p in network.parameters())
    yield "the layers in order", " ".join(type(layer).__name__ for layer, _ in run)
    refill(run)
    yield "what comes out with given weights, in train mode", network.train()(x)
    yield "and in eval mode", network.eval()(x)


# --- the generator


def observe_generator(answer, dice):
    """Two lengths of the latent and two widths; the range when the last weights are large."""
    for latent_dim, base in (10, 4), (7, 6):
        G, z = answer(latent_dim, base), torch.randn(5, latent_dim, 1, 1, generator=dice)
        yield from observe_network(G, z)
        last = [p for p in G.parameters() if p.ndim == 4][-1]
        with torch.no_grad(): last.mul_(1e4)
        x = G(z)
        yield "smallest and largest pixel if the last kernel is huge", [x.min(), x.max()]


def solve_generator(latent_dim=100, base=64):
    return nn.Sequential(
        nn.ConvTranspose2d(latent_dim, 4 * base, 4, bias=False), nn.BatchNorm2d(4 * base), nn.ReLU(True),
        nn.ConvTranspose2d(4 * base, 2 * base, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * base), nn.ReLU(True),
        nn.ConvTranspose2d(2 * base, base, 4, 2, 1, bias=False), nn.BatchNorm2d(base), nn.ReLU(True),
        nn.ConvTranspose2d(base, 3, 4, 2, 1), nn.Tanh())


def generator_of_blocks(latent_dim=100, base=64):
    def block(c_in, c_out, stride=2, padding=1):
        return [nn.ConvTranspose2d(c_in, c_out, 4, stride, padding, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]

    return nn.Sequential(*block(latent_dim, 4 * base, 1, 0), *block(4 * base, 2 * base), *block(2 * base, base),
                         nn.ConvTranspose2d(base, 3, 4, 2, 1), nn.Tanh())


def generator_in_blocks(latent_dim=100, base=64):
    layers = list(solve_generator(latent_dim, base))
    return nn.Sequential(*(nn.Sequential(*layers[i:i + 3]) for i in range(0, len(layers), 3)))


def generator_of_the_course(latent_dim=100, base=64):
    return Generator(32, 3, latent_dim, base).layers


def some_generator(
        latent_dim, base, *, kernel=(4, 2, 1, 0), first=(4, 1, 0), bias=False, last_bias=True, norm=(True, True, True),
        norm_first=True, norm_last=False, act=nn.ReLU, end=nn.Tanh, widths=(4, 2, 1), dense=False, resize=False):
    """A generator in which one thing is another."""
    layers, c = [], latent_dim
    k, stride, padding, extra = kernel
    for i, width in enumerate(widths):
        wide = width * base
        if i == 0 and dense:
            layers += [nn.Flatten(), nn.Linear(latent_dim, 16 * wide, bias=bias), nn.Unflatten(1, (wide, 4, 4))]
        elif i == 0: layers.append(nn.ConvTranspose2d(c, wide, *first, bias=bias))
        elif resize: layers += [nn.Upsample(scale_factor=2), nn.Conv2d(c, wide, 3, 1, 1, bias=bias)]
        else: layers.append(nn.ConvTranspose2d(c, wide, k, stride, padding, extra, bias=bias))
        normed = [nn.BatchNorm2d(wide)] if norm[i] else []
        layers += [*normed, act()] if norm_first else [act(), *normed]
        c = wide
    if resize: layers += [nn.Upsample(scale_factor=2), nn.Conv2d(c, 3, 3, 1, 1)]
    else: layers.append(nn.ConvTranspose2d(c, 3, k, stride, padding, extra, bias=last_bias))
    if norm_last: layers.append(nn.BatchNorm2d(3))
    return nn.Sequential(*layers, *([end()] if end else []))


def wrong_generator(**how):
    """The function that a learner would write who makes one mistake."""
    def generator(latent_dim=100, base=64): return some_generator(latent_dim, base, **how)
    return generator


# --- the discriminator


def observe_discriminator(answer, dice):
    """Two widths, a batch of several and of one."""
    for base in 4, 6:
        D, x = answer(base), torch.rand(5, 3, 32, 32, generator=dice) * 2 - 1
        yield from observe_network(D, x)
        yield "the shape for a batch of one image", list(D.eval()(x[:1]).shape)


def solve_discriminator(base=64):
    return nn.Sequential(
        nn.Conv2d(3, base, 4, 2, 1), nn.LeakyReLU(.2, True),
        nn.Conv2d(base, 2 * base, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * base), nn.LeakyReLU(.2, True),
        nn.Conv2d(2 * base, 4 * base, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * base), nn.LeakyReLU(.2, True),
        nn.Flatten(), nn.Linear(4 * base * 16, 1), nn.Flatten(0))


def discriminator_of_blocks(base=64):
    def block(c): return [nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * c), nn.LeakyReLU(.2)]
    head = [nn.Flatten(), nn.Linear(64 * base, 1), nn.Flatten(0)]
    return nn.Sequential(nn.Conv2d(3, base, 4, 2, 1), nn.LeakyReLU(.2), *block(base), *block(2 * base), *head)


def discriminator_of_the_course(base=64):
    D = Discriminator(32, 3, base)
    return nn.Sequential(*D.features, nn.Flatten(), D.head, nn.Flatten(0))


def in_two_parts(base=64):
    layers = list(solve_discriminator(base))
    return nn.Sequential(nn.Sequential(*layers[:-3]), nn.Sequential(*layers[-3:]))


class Mean(nn.Module):
    """Global average pooling."""

    def forward(self, x): return x.mean((2, 3))


def some_discriminator(base, *, kernel=4, bias=False, first_bias=True, first_norm=False, norm=True, norm_first=True,
                       act=None, end=(), flat=True, pool=False, head="fc", widths=(1, 2, 4)):
    """A discriminator in which one thing is another."""
    layers, c = [], 3
    for i, width in enumerate(widths):
        wide = width * base
        layers.append(nn.Conv2d(c, wide, 3 if pool else kernel, 1 if pool else 2, 1, bias=bias if i else first_bias))
        normed = [nn.BatchNorm2d(wide)] if (norm if i else first_norm) else []
        active = [act() if act else nn.LeakyReLU(.2)]
        layers += [*normed, *active] if norm_first else [*active, *normed]
        if pool: layers.append(nn.MaxPool2d(2))
        c = wide
    heads = {"fc": [nn.Flatten(), nn.Linear(c * 16, 1)], "gap": [Mean(), nn.Linear(c, 1)],
             "hidden": [nn.Flatten(), nn.Linear(c * 16, 4 * base), nn.LeakyReLU(.2), nn.Linear(4 * base, 1)]}
    return nn.Sequential(*layers, *heads[head], *[e() for e in end], *([nn.Flatten(0)] if flat else []))


def wrong_discriminator(**how):
    """The function that a learner would write who makes one mistake."""
    def discriminator(base=64): return some_discriminator(base, **how)
    return discriminator


# --- the first weights


def observe_init(answer, dice):
    """Both networks, of which every number was 9: how the new ones lie, and whether the seed decides them."""
    seed = int(torch.randint(1000, (), generator=dice))
    for what, network in ("G", Generator(base_channels=16)), ("D", Discriminator(base_channels=16)):
        for p in network.parameters(): nn.init.constant_(p, 9.)
        same = answer(network, seeded(seed)) is network
        weights, scales = (
            torch.cat([m.weight.detach().flatten() for m in network.modules() if isinstance(m, kind)])
            for kind in ((nn.Conv2d, nn.ConvTranspose2d), nn.BatchNorm2d))
        yield f"standard deviation of the kernels of {what}, rounded", round(weights.std().item(), 3)
        yield f"mean of the kernels of {what}, rounded", abs(round(weights.mean().item(), 2))
        yield f"whether some kernel weights of {what} lie beyond 0.05", bool((weights.abs() > .05).any())
        yield f"mean of the scales of batch norm in {what}, rounded", round(scales.mean().item(), 1)
        if isinstance(network, Discriminator):
            yield "standard deviation of the head of D, rounded", round(network.head.weight.std().item(), 2)
        shifts = torch.cat([p.detach() for name, p in network.named_parameters() if name.endswith("bias")])
        yield f"the largest bias or shift in {what} (each was 9 before)", shifts.abs().max()
        first = nn.utils.parameters_to_vector(network.parameters())
        answer(network, seeded(seed))
        yield f"whether the same seed gives {what} the same weights", bool(
            torch.equal(first, nn.utils.parameters_to_vector(network.parameters())))
        yield "whether the network itself comes back", same


@torch.no_grad()
def solve_init(model, generator):
    for m in model.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            m.weight.normal_(0, .02, generator=generator)
        if isinstance(m, nn.BatchNorm2d): m.weight.fill_(1)
    for name, p in model.named_parameters():
        if name.endswith("bias"): p.zero_()
    return model


def init_by_pytorch(model, generator):
    for m in model.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(m.weight, 0., .02, generator=generator)
        elif isinstance(m, nn.BatchNorm2d): nn.init.normal_(m.weight, 1., .02, generator=generator)
        else: continue
        if m.bias is not None: nn.init.zeros_(m.bias)
    return model


def wrong_init(std=.02, scale=1., kinds=(nn.Conv2d, nn.ConvTranspose2d, nn.Linear), shift: float | None = 0.,
               uniform=False, chance=True, back=True):
    """The function with a mistake in one place."""
    @torch.no_grad()
    def init(model, generator):
        dice = generator if chance else None
        for m in model.modules():
            if isinstance(m, kinds):
                if uniform: m.weight.uniform_(-.02 * 3**.5, .02 * 3**.5, generator=dice)
                else: m.weight.normal_(0, std, generator=dice)
            if isinstance(m, nn.BatchNorm2d): m.weight.normal_(scale, .02, generator=dice)
            if shift is not None and getattr(m, "bias", None) is not None: m.bias.normal_(0, shift, generator=dice)
        return model if back else None
    return init


def init_with_gradients(model, generator):
    for m in model.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear): m.weight.normal_(0, .02, generator=generator)
    return model
