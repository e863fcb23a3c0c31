"""The small players of lesson 06, and answers to its exercises 06.3 and 06.4, right ones and wrong ones."""
from typing import Any

import torch
from torch import nn

from ..losses import get_loss
from ..steps import frozen


def players(dice):
    """A generator and a discriminator, small and with batch norm, of images with 2×3 pixels."""
    G = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 6), nn.Unflatten(1, (1, 2, 3)))
    D = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0))
    for p in (*G.parameters(), *D.parameters()): nn.init.normal_(p, std=.5, generator=dice)
    return G, D


def weights(network):
    return nn.utils.parameters_to_vector(network.parameters())


def statistics(network):
    return torch.cat([b.float().flatten() for b in network.buffers()])


def images(dice, n=32):
    return torch.rand(n, 1, 2, 3, generator=dice) * 2 - 1


def latents(dice, n=32):
    return torch.randn(n, 4, generator=dice)


# --- 06.3


def observe_d_step(answer, dice):
    """Two steps with old gradients about, several losses, a tie, and what reaches G."""
    for name in "bce", "lsgan", "hinge":
        G, D = players(dice)
        opt_d, loss, real, fake = torch.optim.SGD(D.parameters(), .1), get_loss(name), images(dice), G(latents(dice))
        for p in D.parameters(): p.grad = torch.ones_like(p)
        told: Any = answer(D, opt_d, real, fake, loss)
        yield f"the weights of D after a step ({name})", weights(D)
        yield f"the running statistics of D after it ({name})", statistics(D)
        yield f"d_loss_real and d_loss_fake ({name})", [told["d_loss_real"], told["d_loss_fake"]]
        yield f"d_acc_real and d_acc_fake ({name})", [told["d_acc_real"], told["d_acc_fake"]]
        yield "whether a gradient has reached G", any(p.grad is not None for p in G.parameters())
        yield "whether what is returned still carries its graph", any(
            getattr(v, "requires_grad", False) for v in told.values())
        yield "whether D is in train mode", D.training
        answer(D, opt_d, images(dice), G(latents(dice)), loss)
        yield f"the weights of D after a second step ({name})", weights(D)
    silent = nn.Sequential(nn.Flatten(), nn.Linear(6, 1, bias=False), nn.Flatten(0))
    for p in silent.parameters(): nn.init.zeros_(p)
    told = answer(silent, torch.optim.SGD(silent.parameters(), .1), real, fake, get_loss("bce"))
    yield "accuracies of a D whose logits are all 0", [told["d_acc_real"], told["d_acc_fake"]]


def d_step_that(cut=True, swap=False, zero=True, half=False, joint=False, evaluates=False, threshold=None, tie=False,
                fooled=False, graph=False):
    """D's step with one thing in it that can be wrong."""
    def step(D, opt_d, real, fake, loss):
        if cut: fake = fake.detach()
        if evaluates: D.eval()
        if joint: real_logits, fake_logits = D(torch.cat([real, fake])).split(len(real))
        else: real_logits, fake_logits = D(real), D(fake)
        if swap: loss_fake, loss_real = loss.d(fake_logits, real_logits)
        else: loss_real, loss_fake = loss.d(real_logits, fake_logits)
        if zero: opt_d.zero_grad()
        ((loss_real + loss_fake) * (.5 if half else 1)).backward()
        opt_d.step()
        if evaluates: D.train()
        limit = loss.threshold if threshold is None else threshold
        real_right = real_logits >= limit if tie else real_logits > limit
        fake_right = fake_logits < limit if tie else fake_logits <= limit
        if fooled: fake_right = ~fake_right
        if not graph: loss_real, loss_fake = loss_real.detach(), loss_fake.detach()
        return dict(d_loss_real=loss_real, d_loss_fake=loss_fake, d_acc_real=real_right.float().mean(),
                    d_acc_fake=fake_right.float().mean())
    return step


def solve_d_step(D, opt_d, real, fake, loss):
    real_logits, fake_logits = D(real), D(fake.detach())
    loss_real, loss_fake = loss.d(real_logits, fake_logits)
    opt_d.zero_grad()
    (loss_real + loss_fake).backward()
    opt_d.step()
    return dict(d_loss_real=loss_real.detach(), d_loss_fake=loss_fake.detach(),
                d_acc_real=(real_logits > loss.threshold).float().mean(),
                d_acc_fake=(fake_logits <= loss.threshold).float().mean())


def d_step_in_numbers(D, opt_d, real, fake, loss):
    D.zero_grad()
    real_logits, fake_logits = D(real), D(fake.detach())
    losses = loss.d(real_logits, fake_logits)
    (losses[0] + losses[1]).backward()
    opt_d.step()
    right = [(real_logits > loss.threshold).sum().item(), (~(fake_logits > loss.threshold)).sum().item()]
    return dict(d_loss_real=losses[0].item(), d_loss_fake=losses[1].item(),
                d_acc_real=right[0] / len(real), d_acc_fake=right[1] / len(fake))


# --- 06.4


def observe_g_step(answer, dice):
    """Two steps against a D that has to be left as it was."""
    for name in "bce", "hinge", "lsgan":
        G, D = players(dice)
        opt_g, loss = torch.optim.SGD(G.parameters(), .1), get_loss(name)
        for p in G.parameters(): p.grad = torch.ones_like(p)
        before, moved = weights(D).detach().clone(), statistics(D)
        told: Any = answer(D, opt_g, G(latents(dice)), loss)
        yield f"the weights of G after a step ({name})", weights(G)
        yield f"g_loss ({name})", told["g_loss"]
        yield "how far D's weights have moved", (weights(D) - before).abs().max()
        yield "how far D's running statistics have moved", (statistics(D) - moved).abs().max()
        yield "whether a gradient was left in D", any(p.grad is not None for p in D.parameters())
        yield "whether D's weights can learn again", all(p.requires_grad for p in D.parameters())
        yield "whether D is in train mode", D.training
        answer(D, opt_g, G(latents(dice)), loss)
        yield f"the weights of G after a second step ({name})", weights(G)


def solve_g_step(D, opt_g, fake, loss):
    with frozen(D):
        g_loss = loss.g(D(fake), None)
        opt_g.zero_grad()
        g_loss.backward()
    opt_g.step()
    return dict(g_loss=g_loss.detach())


def g_step_by_names(D, opt_g, fake, loss):
    opt_g.zero_grad()
    with frozen(D):
        g_loss = loss.g(D(fake))
        g_loss.backward()
        opt_g.step()
    return {"g_loss": g_loss.item()}


def g_step_with_backward_outside(D, opt_g, fake, loss):
    with frozen(D): g_loss = loss.g(D(fake))
    opt_g.zero_grad()
    g_loss.backward()
    opt_g.step()
    return dict(g_loss=g_loss.detach())


def g_step_that(cut=False, freezes=True, weights_only=False, stays_frozen=False, evaluates=False, minimax=False,
                zero=True, d_moves=False):
    """G's step with one thing in it that can be wrong."""
    def step(D, opt_g, fake, loss):
        def backward():
            if evaluates: D.eval()
            logits = D(fake.detach().requires_grad_() if cut else fake)
            if evaluates: D.train()
            g_loss = loss.g(logits)
            if minimax: g_loss = -loss.d(logits, logits)[1]
            if zero: opt_g.zero_grad()
            g_loss.backward()
            return g_loss

        if weights_only or stays_frozen:
            D.requires_grad_(False)
            kept = [b.clone() for b in D.buffers()]
            g_loss = backward()
            if not stays_frozen: D.requires_grad_(True)
            else:
                for b, old in zip(D.buffers(), kept, strict=True): b.copy_(old)
        elif freezes:
            with frozen(D): g_loss = backward()
        else: g_loss = backward()
        opt_g.step()
        if d_moves: torch.optim.SGD(D.parameters(), .1).step()
        return dict(g_loss=g_loss.detach())
    return step
