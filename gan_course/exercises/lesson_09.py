"""Exercises of lesson 09: labels."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from ._judge import Exercise, Lesson, Wrong

# --- 09.1


def observe_norm(answer, dice):
    """A batch with mean and scale of its own, tables far from one and zero, and the same class twice."""
    x = 3 * torch.randn(6, 4, 5, 3, generator=dice) + 2
    gain, shift = 1 + torch.rand(3, 4, generator=dice), 2 * torch.randn(3, 4, generator=dice)
    labels = torch.tensor([2, 0, 0, 1, 2, 2])
    yield "six feature maps of classes 2, 0, 0, 1, 2, 2", answer(x, labels, gain, shift)
    gain = gain.requires_grad_()
    few = answer(x[:3], torch.tensor([1, 1, 0]), gain, shift)
    few.square().sum().backward()
    yield "the gradient of the gains, where classes 1, 1 and 0 were in the batch", gain.grad


def normalised_maps(x):
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


def solve_norm(x, labels, gain, shift):
    return gain[labels][:, :, None, None] * normalised_maps(x) + shift[labels][:, :, None, None]


def norm_by_pytorch(x, labels, gain, shift):
    y = F.batch_norm(x, None, None, training=True)
    return F.embedding(labels, gain)[..., None, None] * y + F.embedding(labels, shift)[..., None, None]


def norm_one_by_one(x, labels, gain, shift):
    y = nn.BatchNorm2d(x.shape[1], affine=False)(x)
    rows = [gain[k].view(-1, 1, 1) * image + shift[k].view(-1, 1, 1) for image, k in zip(y, labels, strict=True)]
    return torch.stack(rows)


def norm_by_class(x, labels, gain, shift):
    y = torch.empty_like(x)
    for k in labels.unique(): y[labels == k] = normalised_maps(x[labels == k])
    return gain[labels][:, :, None, None] * y + shift[labels][:, :, None, None]


def norm_of_scaled(x, labels, gain, shift):
    return normalised_maps(gain[labels][:, :, None, None] * x + shift[labels][:, :, None, None])


def norm_of_each_image(x, labels, gain, shift):
    return gain[labels][:, :, None, None] * F.instance_norm(x) + shift[labels][:, :, None, None]


NORM = Exercise(
    "09.1", "Batch norm that knows the class", minutes=10, difficulty=2,
    hints=["Two things happen one after the other. Normalising does not look at the labels; only what comes after it "
           "does.",
           "gain[labels] has one row for each image, (B,C). Two axes of length 1 at its end let it multiply (B,C,H,W).",
           "Mean and variance are taken over the axes (0, 2, 3), the variance with correction=0; then "
           "gain[labels][:, :, None, None] * y + shift[labels][:, :, None, None]."],
    observe=observe_norm, solution=solve_norm, others=[norm_by_pytorch, norm_one_by_one],
    wrong=[
        Wrong(norm_by_class,
              "mean and variance are taken over the images of one class. Then a class with two images in the batch is "
              "normalised by two images; all classes share the statistics, and only gain and shift are their own."),
        Wrong(norm_of_scaled,
              "gain and shift are applied before normalising, which takes most of what they did away again. They come "
              "after it."),
        Wrong(norm_of_each_image,
              "mean and variance are taken over each image alone: this is instance norm. Batch norm averages over the "
              "batch as well, the axes (0, 2, 3)."),
        Wrong(lambda x, labels, gain, shift: (gain[labels].mean(0)[None, :, None, None] * normalised_maps(x)
                                              + shift[labels].mean(0)[None, :, None, None]),
              "the rows are averaged over the batch, so every image gets the same gain. Each image has a class of its "
              "own, and so a row of its own."),
        Wrong(lambda x, labels, gain, shift: (gain[0][None, :, None, None] * normalised_maps(x)
                                              + shift[0][None, :, None, None]),
              "the first row is used for every image: the labels are not looked at."),
        Wrong(lambda x, labels, gain, shift: gain[labels][:, :, None, None] * normalised_maps(x),
              "the shift is missing. A gain alone cannot switch a map on that is off for the other classes."),
        Wrong(lambda x, labels, gain, shift: ((1 + gain[labels])[:, :, None, None] * normalised_maps(x)
                                              + shift[labels][:, :, None, None]),
              "1 is added to the gain. Some programs store the gain minus 1, so that the table may begin at zero; here "
              "the table begins at one, and is used as it is."),
        Wrong(lambda x, labels, gain, shift: (gain[labels][:, :, None, None] * (x - x.mean((0, 2, 3), keepdim=True))
                                              / (x.var((0, 2, 3), keepdim=True) + 1e-5).sqrt()
                                              + shift[labels][:, :, None, None]),
              "the variance is divided by n - 1. Batch norm divides by n, which is correction=0."),
    ],
    otherwise="compare a single image with F.batch_norm(x, None, None, training=True): which row of the tables did it "
              "get, and over which axes was the mean taken?",
    because="The statistics belong to the batch, gain and shift to the class: each image looks its rows up.")

# --- 09.2

PARTS = Exercise(
    "09.2", "What the logit of a pair says", minutes=6, difficulty=2, rtol=.01,
    hints=["Write both joint densities as a product: p(x, y) = p(x) p(y | x), and the same for q.",
           "The best logit is the logarithm of p(x, y)/q(x, y). Which of the two factors cancels here?",
           "p(x) = q(x), so what is left is log of 0.9/0.5."],
    solution=math.log(.9 / .5),
    wrong=[
        Wrong(0., "0 is what a D would say that is asked about the image alone. This one is asked about the pair, and "
                  "among real images this one is a plump bird more often than G's labels say."),
        Wrong(math.log(.9 / .1), "this is the logit of a classifier: plump against slim, among real images. D compares "
                                 "real pairs with generated pairs."),
        Wrong(math.log(.9), "this is the logarithm of the real share alone. D's logit is a ratio: the share among the "
                            "generated images stands below it."),
        Wrong(math.log(.5 / .9), "the ratio is turned over. A positive logit means that such a pair is more frequent "
                                 "among the real ones."),
        Wrong(.9 - .5, "this is the difference of the two shares. The best logit is the logarithm of their ratio."),
        Wrong(.9 / .5, "this is the ratio itself. The logit is its logarithm."),
    ],
    because="log p(x, y)/q(x, y) = log p(x)/q(x) + log p(y|x)/q(y|x) = 0 + log 0.9/0.5 = 0.588.")

# --- 09.3


def observe_projection(answer, dice):
    """Random features, labels that occur twice, a table whose rows differ, and the gradient of the table."""
    phi, logit = torch.randn(5, 7, generator=dice), torch.randn(5, generator=dice)
    table, labels = torch.randn(4, 7, generator=dice), torch.tensor([3, 1, 1, 0, 3])
    yield "five images of classes 3, 1, 1, 0, 3", answer(phi, logit, labels, table)
    yield "five images whose features are all zero", answer(0 * phi, logit, labels, table)
    table = table.requires_grad_()
    answer(phi, logit, labels, table).sum().backward()
    yield "the gradient of the table", table.grad


def solve_projection(phi, logit, labels, table):
    return logit + (table[labels] * phi).sum(1)


def projection_by_einsum(phi, logit, labels, table):
    return logit + torch.einsum("bc,bc->b", F.embedding(labels, table), phi)


def projection_of_all_classes(phi, logit, labels, table):
    return logit + (phi @ table.T).gather(1, labels[:, None])[:, 0]


PROJECTION = Exercise(
    "09.3", "The projection", minutes=8, difficulty=2,
    hints=["For each image there is one row of the table. How well do two vectors of the same length go together?",
           "The answer is a number for each image: the logit that is there, plus an inner product.",
           "Return logit + (table[labels] * phi).sum(1)."],
    observe=observe_projection, solution=solve_projection, others=[projection_by_einsum, projection_of_all_classes],
    wrong=[
        Wrong(lambda phi, logit, labels, table: (table[labels] * phi).sum(1),
              "the logit of the image alone is missing. Whether it looks real at all is a question of its own, the "
              "first term of the formula."),
        Wrong(lambda phi, logit, labels, table: logit + (table[labels] * phi).mean(1),
              "the products are averaged over the channels. An inner product is their sum; a mean makes the label "
              "count less the wider the network is."),
        Wrong(lambda phi, logit, labels, table: logit + (table[labels] * phi).sum(),
              "the products are summed over the whole batch, so every image gets the same number. Sum over the "
              "channels only."),
        Wrong(lambda phi, logit, labels, table: logit + (phi @ table.T).log_softmax(1).gather(1, labels[:, None])[:, 0],
              "log_softmax compares the class with all others: this is a classifier, as in AC-GAN. The projection "
              "takes the inner product as it is, because both softmax denominators depend on the image alone."),
        Wrong(lambda phi, logit, labels, table: logit + (phi @ table.T).amax(1),
              "this takes the class that fits best, whatever was asked. The label says which row to take."),
        Wrong(lambda phi, logit, labels, table: logit + (phi @ table.T).sum(1),
              "the inner products with all classes are added up. Only the row of the label counts."),
        Wrong(lambda phi, logit, labels, table: logit - (table[labels] * phi).sum(1),
              "the sign is turned: this logit falls where image and class go together."),
    ],
    otherwise="the result has one number for each image: its logit, plus the inner product of its features with the "
              "row of its class.",
    because="Two softmax classifiers with weights v and v' differ by (v_y - v'_y)·φ(x) plus a term without y.")

# --- 09.4


class LabelledImages(nn.Module):
    """A generator whose images hold nothing but their label; it notes what it was told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def forward(self, z, labels):
        self.told.append(labels)
        return labels.float()[:, None, None, None].expand(len(z), 1, 2, 2)


class Matches(nn.Module):
    """A discriminator whose logit is 3 where image and label agree, -3 where not; 1 more for a real image's mark."""

    def forward(self, x, labels):
        return torch.where(x[:, 0, 0, 0] == labels, 3., -3.) + x[:, 0, 1, 1] - x[:, 0, 0, 0]


def observe_players(answer, dice):
    """Images that are their labels, so that every label that was told to the wrong one is seen."""
    labels = torch.randint(8, (40,), generator=dice)
    real, z = labels.float()[:, None, None, None].repeat(1, 1, 2, 2), torch.randn(40, 5, generator=dice)
    real[:, :, 1, 1] += 1
    G, D = LabelledImages(), Matches()
    real_logits, fake_logits = answer(G, D, real, labels, z)
    yield "the logits that a D gives to forty real pairs: 4 where image and label agree", real_logits.unique()
    yield "the logits that it gives to forty generated pairs: 3 where image and label agree", fake_logits.unique()
    yield "whether G was asked once, and for several classes", len(G.told) == 1 and len(G.told[0].unique()) > 1


def solve_players(G, D, real, labels, z):
    fake = G(z, labels)
    return D(real, labels), D(fake, labels)


def players_with_drawn_labels(G, D, real, labels, z):
    asked = torch.randint(8, labels.shape)
    return D(real, labels), D(G(z, asked), asked)


def players_with_shuffled_labels(G, D, real, labels, z):
    asked = labels[torch.randperm(len(labels))]
    fake = G(z, asked)
    return D(real, labels), D(fake, asked)


def players_with_other_labels(G, D, real, labels, z):
    return D(real, labels), D(G(z, labels), torch.randint(8, labels.shape))


PLAYERS = Exercise(
    "09.4", "The same labels for both players", minutes=6, difficulty=2,
    hints=["D judges pairs. Which label makes the generated pair one that G is answerable for?",
           "What G was told is what D has to be told of that image, in the same order.",
           "fake = G(z, labels), then D(real, labels) and D(fake, labels)."],
    observe=observe_players, solution=solve_players, others=[players_with_drawn_labels, players_with_shuffled_labels],
    wrong=[
        Wrong(players_with_other_labels,
              "D is told other labels of the generated images than G was. Then no picture can please it, whatever G "
              "draws, and G learns to ignore its label. Draw the labels once, and tell both."),
        Wrong(lambda G, D, real, labels, z: (D(real, labels.flip(0)), D(G(z, labels), labels)),
              "the real images are judged with labels that are not theirs. Then D learns that no image has anything to "
              "do with its label."),
        Wrong(lambda G, D, real, labels, z: (D(real, labels), D(G(z, 0 * labels), 0 * labels)),
              "G is asked for the same class every time, so it never learns the others. Ask as the data do, or "
              "evenly."),
        Wrong(lambda G, D, real, labels, z: (D(G(z, labels), labels), D(real, labels)),
              "both are right, but in the wrong order: the real logits come first."),
        Wrong(lambda G, D, real, labels, z: (D(real, labels), -D(G(z, labels), labels)),
              "the sign of the fake logits is turned. Which of them is called fake is the business of the loss, not "
              "of the network."),
    ],
    otherwise="G and D are called with the same tensor of labels; the real images keep their own.",
    because="A generated pair is an image and the label that it was made for: only so can G be blamed for a mismatch.")

LESSON = Lesson("09", "Labels", [NORM, PARTS, PROJECTION, PLAYERS])
