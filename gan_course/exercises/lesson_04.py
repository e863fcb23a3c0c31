"""Exercises of lesson 04: pictures as tensors, judges, copies, folders, and what a discriminator sees."""
import numpy as np
import torch
from torch import nn

from ..core import seeded
from ._judge import Exercise, Lesson, Wrong

# --- 04.1


def observe_to_tensor(answer, dice):
    """A picture that is not square, with both ends of the range; one with few levels."""
    picture = torch.randint(0, 256, (5, 7, 3), generator=dice, dtype=torch.uint8).numpy()
    picture[0, 0], picture[4, 6] = 0, 255
    pale = torch.randint(100, 150, (4, 6, 3), generator=dice, dtype=torch.uint8).numpy()
    made = answer(picture.copy())
    yield "a picture 5 pixels high and 7 wide", made
    yield "its type", str(made.dtype)
    yield "a pale picture, 4 pixels high and 6 wide, with levels 100 to 149", answer(pale.copy())


def solve_to_tensor(picture):
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1


def to_tensor_by_numpy(picture):
    return torch.tensor(np.moveaxis(picture.astype(np.float32) / 255 * 2 - 1, 2, 0))


def to_tensor_by_channels(picture):
    return torch.stack([(torch.tensor(picture[:, :, c]) - 127.5) / 127.5 for c in range(3)])


def reordered(picture):
    """The channels first, still as bytes: what most wrong answers share."""
    return torch.from_numpy(picture).permute(2, 0, 1)


def scaled_by_imagenet(picture):
    mean, std = torch.tensor([.485, .456, .406]), torch.tensor([.229, .224, .225])
    return (reordered(picture) / 255 - mean[:, None, None]) / std[:, None, None]


def scaled_by_itself(picture):
    x = reordered(picture).float()
    return 2 * (x - x.min()) / (x.max() - x.min()) - 1


TO_TENSOR = Exercise(
    "04.1", "From a picture to a tensor", minutes=6, difficulty=1,
    hints=["There are two jobs: the order of the axes, and the range of the numbers.",
           "permute(2, 0, 1) says which old axis comes first, second and third. reshape would keep the order of the "
           "numbers in memory, and so mix rows, columns and colours.",
           "0 becomes -1 and 255 becomes 1, on a straight line: divide by 127.5 and subtract 1, in float."],
    observe=observe_to_tensor, solution=solve_to_tensor, others=[to_tensor_by_numpy, to_tensor_by_channels],
    wrong=[
        Wrong(lambda p: torch.from_numpy(p).reshape(3, *p.shape[:2]).float() / 127.5 - 1,
              "the shape is right and the picture is scrambled: reshape (or view) reads the numbers in their order in "
              "memory, red, green, blue of the first pixel, and so on. permute moves axes."),
        Wrong(lambda p: torch.from_numpy(p).permute(2, 1, 0).float() / 127.5 - 1,
              "rows and columns are exchanged, so the picture lies on its side. With square pictures no error would "
              "tell you: the order is channels, height, width."),
        Wrong(lambda p: torch.from_numpy(p).float() / 127.5 - 1,
              "the channels still come last. PyTorch's convolutions expect them first: (3, H, W)."),
        Wrong(lambda p: reordered(p).float() / 255,
              "this is [0, 1]. G ends in a tanh, so its images lie in [-1, 1], and D would tell the two kinds by their "
              "range alone."),
        Wrong(lambda p: reordered(p) * 2 / 255 - 1,
              "a byte counts modulo 256, so doubling it wraps around: level 200 becomes 144. Change to float before "
              "you calculate."),
        Wrong(scaled_by_itself,
              "this stretches each picture from its own darkest to its own lightest value. A pale picture then gets "
              "full contrast; the range is 0 to 255, whatever the picture holds."),
        Wrong(lambda p: reordered(p).float() / 128 - 1,
              "255 becomes 0.992, and G's white would be whiter than any real white. The middle of 0 and 255 is "
              "127.5."),
        Wrong(scaled_by_imagenet,
              "these are the means and standard deviations with which classifiers on ImageNet are fed. A GAN compares "
              "with the tanh of G: [-1, 1]."),
        Wrong(lambda p: torch.from_numpy(p / 127.5 - 1).permute(2, 0, 1),
              "the values are right, but numpy has divided in float64. Networks hold float32 and refuse anything else: "
              "add .float()."),
    ],
    otherwise="follow one pixel: its three numbers belong to one place (row, column) of three channels, and 0, 127.5, "
              "255 become -1, 0, 1.",
    because="permute moves the axes without mixing pixels; x / 127.5 - 1 is the straight line through (0, -1) and "
            "(255, 1), the range of the tanh in which G ends.")

# --- 04.2

BY_CHANCE = Exercise(
    "04.2", "Keeping a rule by chance", minutes=4, difficulty=2,
    hints=["Whatever colour the head has got: how probable is it that the tail gets the same one?",
           "Add up over the six colours: 6 · (1/6 · 1/6)."],
    solution=1 / 6, rtol=.03,
    wrong=[
        Wrong(1 / 36, "this is the probability that both have one *particular* colour, say red. Any of the six will "
                      "do: 6 · 1/36."),
        Wrong(1 / 2, "the colours agree or they do not, but these two cases are not equally probable."),
        Wrong(5 / 6, "this is the share that *breaks* the rule."),
        Wrong(1 / 8, "there are eight species, but the rule is about the six colours of head and tail."),
        Wrong(1 / 48, "the species does not matter: the rule asks only whether two colours agree."),
        Wrong(0., "a rule can be kept without being known. Whatever the head's colour, one of six tails agrees."),
        Wrong(100 / 6, "this is in percent; give it as a share between 0 and 1."),
    ],
    otherwise="imagine the head's colour as given, and ask how probable it is that the tail agrees.",
    because="Whatever the head's colour is, the tail agrees with it in one of six cases. A share of the rule above 1/6 "
            "is knowledge, one at 1/6 is none.")

# --- 04.3


def observe_nearest(answer, dice):
    """Random images, noisy copies and an exact one, among nine real images."""
    real = torch.randint(0, 256, (9, 3, 6, 6), generator=dice, dtype=torch.uint8)
    copies = (real[[7, 3]].int() + torch.randint(-9, 10, (2, 3, 6, 6), generator=dice)).clamp(0, 255).to(torch.uint8)
    others = torch.randint(0, 256, (4, 3, 6, 6), generator=dice, dtype=torch.uint8)
    distance, index = answer(others, real)
    yield "the distances of four images that are no copies", distance
    yield "the positions of their nearest real images", index
    distance, index = answer(copies, real)
    yield "the distances of noisy copies of real images 7 and 3", distance
    yield "where these two are found", index
    distance, index = answer(real[4:6], real)
    yield "are real images 4 and 5 themselves at a distance below half a level?", bool((distance < .5).all())


def solve_nearest(images, real):
    x, y = images.flatten(1).float(), real.flatten(1).float()
    distance, index = torch.cdist(x, y).min(1)
    return distance / x.shape[1]**.5, index


def nearest_in_a_loop(images, real):
    found = [((image.float() - real.float())**2).mean((1, 2, 3)).min(0) for image in images]
    return torch.stack([f.values for f in found]).sqrt(), torch.stack([f.indices for f in found])


def nearest_by_broadcasting(images, real):
    squares = (images[:, None].double() - real[None].double()).square().flatten(2).mean(2)  # (N,M)
    index = squares.argmin(1)
    return squares.sqrt()[torch.arange(len(images)), index], index


def all_distances(images, real):
    """What wrong answers share: the right distances, (N,M)."""
    return (images[:, None].float() - real[None].float()).square().mean((2, 3, 4)).sqrt()


def nearest_in_bytes(images, real):
    return (images[:, None] - real[None]).float().square().mean((2, 3, 4)).sqrt().min(1)


NEAREST = Exercise(
    "04.3", "The nearest real image", minutes=8, difficulty=2,
    hints=["Change to float first, flatten each image to one row of numbers, and compare every row of the one with "
           "every row of the other.",
           "torch.cdist(a, b) gives Euclid's distances (N,M) of the rows. The root of the *mean* square is that "
           "divided by the root of the number of pixels and channels.",
           "d.min(1) goes through the real images, for each of yours: it returns the values and their positions."],
    observe=observe_nearest, solution=solve_nearest, others=[nearest_in_a_loop, nearest_by_broadcasting],
    wrong=[
        Wrong(nearest_in_bytes,
              "the difference was taken between bytes, which have no negative numbers: 3 - 5 becomes 254. Change to "
              "float before you subtract."),
        Wrong(lambda a, b: all_distances(a, b).min(0),
              "this is the minimum over *your* images, for each real one. To find copies, look for each of your images "
              "through all real ones."),
        Wrong(lambda a, b: all_distances(a, b).square().min(1),
              "this is the mean square: the same image is nearest, but the unit is levels squared. Take the root."),
        Wrong(lambda a, b: torch.cdist(a.flatten(1).float(), b.flatten(1).float()).min(1),
              "this is Euclid's distance, the root of the *sum*. It grows with the number of pixels; with the mean the "
              "unit is levels, at any size."),
        Wrong(lambda a, b: (a[:, None].float() - b[None].float()).abs().mean((2, 3, 4)).min(1),
              "this is the mean absolute difference. The task asks for the root of the mean square, which weighs large "
              "differences more."),
        Wrong(lambda a, b: all_distances(a, b).max(1), "this finds the real image that is least like yours: min."),
        Wrong(lambda a, b: all_distances(a, b).min(1)[::-1], "the two results are exchanged: distances first."),
        Wrong(lambda a, b: (all_distances(a, b).argmin(1), all_distances(a, b).argmin(1)),
              "both results are positions: argmin says where, min says how far."),
    ],
    otherwise="for one image and one real image, take the difference of each number in float, square, mean, root. Then "
              "the smallest over the real images.",
    because="For each image the smallest root mean square difference over all real images, in levels of 0…255, and "
            "where it stands.")

# --- 04.4


def letters_of(answer):
    """The letters, each once and sorted: their order does not matter."""
    text = "".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)
    return "".join(sorted({letter for letter in text.lower() if letter.isalpha()}))


def observe_letters(answer, dice):
    yield "your letters", letters_of(answer)


FILES = Exercise(
    "04.4", "What a folder gives", minutes=5, difficulty=2,
    hints=["Grey, transparent and upright pictures can all be turned into one form. Which of the files hold no picture "
           "at all, or only half of one?",
           "Subfolders are searched, and a file without an ending is looked into. What begins with a dot is hidden on "
           "purpose."],
    observe=observe_letters, solution="abcdij", others=["jidcba", "a, b, c, d, i, j", list("abcdij")],
    wrong=[
        Wrong("abcdi", "a name without an ending says nothing, so such a file is looked into, and finch is a PNG."),
        Wrong("abcdgij", "half a JPEG could be shown as a picture with a grey lower half, and a generator would learn "
                         "the grey. A broken file is skipped and named."),
        Wrong("abcdgi", "two differences: half a JPEG (g) is skipped, and finch (j), when looked into, is a PNG."),
        Wrong("abcdj", "subfolders are searched at any depth: old/owl.jpeg counts."),
        Wrong("abdij", "grey is no obstacle: among coloured pictures a grey one gets three equal channels."),
        Wrong("abcij", "transparency is no obstacle: the picture is laid on white."),
        Wrong("acdij", "WREN.JPG counts: endings may be written in capitals, and a picture in portrait format is made "
                       "square like any other."),
        Wrong("abcdfij", "what begins with a dot is passed over: such files are thumbnails and rubbish of programs."),
        Wrong("abcdhij", "film.mp4 is no picture. It is left out, and a line says so, in case you had expected it."),
        Wrong("abcdefghij", "not everything: ask of each file in the list whether it holds a whole picture."),
    ],
    otherwise="give the letters of all files that become images, for example \"ab\". Six of the ten do.",
    because="a, b, c, d are whole pictures; i lies in a subfolder; j is a PNG although its name does not say so. e and "
            "f are passed over without a word, h is left out and counted, g is skipped and named.")

# --- 04.5


def same(a, b):
    """Image by image, whether two batches are equal."""
    return (a == b).flatten(1).all(1)


def mirrored_share(before, after):
    """The share of images that were mirrored."""
    return same(after, before.flip(3)).float().mean().item()


def what_became(before, after):
    """What was done to images that are no longer as they were."""
    changes = {"left and right": before.flip(3), "top and bottom": before.flip(2), "red and blue": before.flip(1),
               "one image and another": before.flip(0), "both directions": before.flip(2, 3)}
    changed = ~same(after, before)
    return next((name for name, other in changes.items() if same(after, other)[changed].all()), "something else")


def habit(shares):
    """In words, how a flip behaved over several batches."""
    if all(s == 0 for s in shares): return "no image is ever mirrored"
    if all(s == 1 for s in shares): return "all images are always mirrored"
    if all(s in (0, 1) for s in shares): return "the whole batch is mirrored, or none of it"
    return "about half of each batch" if .4 < sum(shares) / len(shares) < .6 else "not about half"


def observe_flip(answer, dice):
    """Several batches; the input, the generator and the type are looked at, too."""
    x = torch.rand(64, 3, 6, 8, generator=dice)
    before = x.clone()
    after = answer(x, dice)
    yield "what is exchanged in the images that are changed", what_became(before, after)
    yield "has your input been changed?", "no" if torch.equal(x, before) else "yes"
    yield "twelve batches", habit([mirrored_share(before, answer(before.clone(), dice)) for _ in range(12)])
    first, again = answer(before.clone(), dice), answer(before.clone(), dice)
    yield "two batches with one generator: are the same images mirrored?", bool(torch.equal(first, again))
    first, again = answer(before.clone(), seeded(5)), answer(before.clone(), seeded(5))
    yield "two generators of the same seed: are the same images mirrored?", bool(torch.equal(first, again))
    yield "the type of flipped bytes", str(answer(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), dice).dtype)


def solve_flip(images, dice):
    mirror = torch.rand(len(images), generator=dice) < .5
    return torch.where(mirror[:, None, None, None], images.flip(3), images)


def flip_by_index(images, dice):
    mirror = torch.randint(2, (len(images),), generator=dice).bool()
    out = images.clone()
    out[mirror] = images[mirror].flip(-1)
    return out


def flip_in_a_loop(images, dice):
    return torch.stack([i.flip(2) if torch.rand((), generator=dice) < .5 else i for i in images])


def coins(images, dice):
    return (torch.rand(len(images), generator=dice) < .5)[:, None, None, None]


def flip_in_place(images, dice):
    mirror = coins(images, dice).flatten()
    images[mirror] = images[mirror].flip(3)
    return images


FLIP = Exercise(
    "04.5", "Mirror half of the images", minutes=6, difficulty=2,
    hints=["Toss a coin for each image: torch.rand(len(images), generator=dice) < 0.5.",
           "The axes are (B, C, H, W). Which of them runs from left to right?",
           "torch.where(mirror[:, None, None, None], images.flip(3), images) chooses image by image and leaves the "
           "input as it is."],
    observe=observe_flip, solution=solve_flip, others=[flip_by_index, flip_in_a_loop],
    wrong=[
        Wrong(lambda x, dice: x.flip(3) if torch.rand((), generator=dice) < .5 else x,
              "one coin decides for the whole batch, so all birds of a batch look the same way, and D learns from "
              "that. Toss a coin for each image."),
        Wrong(lambda x, dice: torch.where(coins(x, dice), x.flip(2), x),
              "axis 2 runs from top to bottom: these birds stand on their heads. From left to right it is axis 3."),
        Wrong(lambda x, dice: torch.where(coins(x, dice), x.flip(0), x),
              "axis 0 is the batch: this exchanges images among each other and mirrors none."),
        Wrong(lambda x, dice: torch.where(coins(x, dice), x.flip(1), x),
              "axis 1 holds the channels: this exchanges red and blue."),
        Wrong(lambda x, dice: torch.where(coins(x, dice), x.flip(2, 3), x),
              "two axes are turned round, which is a rotation by 180°. Only left and right are exchanged."),
        Wrong(lambda x, dice: x.flip(3),
              "every image is mirrored, always. That is another data set of the same size, and no image in it is as it "
              "was."),
        Wrong(flip_in_place,
              "the result is right, but your input has been changed: the data set itself, if the batch is a view of "
              "it. Make a new tensor."),
        Wrong(lambda x, dice: solve_flip(x, seeded(0)),
              "the generator begins anew in every call, so the same places of the batch are mirrored every time. Draw "
              "from the one that is handed in."),
        Wrong(lambda x, dice: solve_flip(x, None),
              "the coins come from torch's global generator, so the seed of `dice` does not repeat them. Pass "
              "generator=dice."),
    ],
    otherwise="a coin for each image, left and right exchanged where it shows heads, a new tensor, and the coins drawn "
              "from `dice`.",
    because="flip(3) mirrors all images from left to right, and the coin of each image chooses. torch.where makes a "
            "new tensor, so the data set stays what it is.")

# --- 04.6


def observe_sees(answer, dice):
    """Players that are matrices, and a change T that can be seen in every logit and gradient."""
    x, z = torch.randn(2, 5, 4, generator=dice)
    matrix = torch.randn(4, 4, generator=dice)
    G, D = nn.Linear(4, 4, bias=False), nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        for layer in (G, D): layer.weight.copy_(torch.randn(layer.weight.shape, generator=dice))

    def T(images): return torch.tanh(images @ matrix) + .5
    real, fake, fool = answer(D, G, x, z, T)
    yield "D's logits of the real images", real
    yield "D's logits of the fakes in D's step", fake
    yield "D's logits of the fakes in G's step", fool
    (real.sum() - fake.sum()).backward()
    yield "does a gradient reach G in D's step?", "no" if G.weight.grad is None else "yes"
    G.weight.grad = None
    if fool.requires_grad: fool.sum().backward()
    yield "the gradient that reaches G in G's step", torch.zeros(4, 4) if G.weight.grad is None else G.weight.grad


def solve_sees(D, G, x, z, T):
    real = D(T(x))
    fake = D(T(G(z).detach()))
    fool = D(T(G(z)))
    return real, fake, fool


def sees_one_batch(D, G, x, z, T):
    made = G(z)
    real, fake = D(T(torch.cat([x, made.detach()]))).chunk(2)
    return real, fake, D(T(made))


def sees_detached_later(D, G, x, z, T):
    with torch.no_grad(): shown = T(G(z))
    return D(T(x)), D(shown), D(T(G(z)))


SEES = Exercise(
    "04.6", "Mend it: where the change goes", minutes=6, difficulty=2,
    hints=["Whatever D sees has to be changed in the same way, otherwise the change itself tells real from fake.",
           "G learns from D's answer in G's step. There D has to see what it was trained on, too.",
           "T stands before D in all three lines; the detach stays in the second line only."],
    observe=observe_sees, solution=solve_sees, others=[sees_one_batch, sees_detached_later],
    wrong=[
        Wrong(lambda D, G, x, z, T: (D(T(x)), D(G(z).detach()), D(G(z))),
              "this is the code as it was: D finds the changed ones real, so G learns to make changed images."),
        Wrong(lambda D, G, x, z, T: (D(T(x)), D(T(G(z).detach())), D(G(z))),
              "D's step is mended. In G's step D now sees unchanged fakes, a kind of image on which it was never "
              "trained, and its slope there means nothing."),
        Wrong(lambda D, G, x, z, T: (D(T(x)), D(G(z).detach()), D(T(G(z)))),
              "G's step is mended. In D's step real images are changed and fakes are not, so the holes alone tell "
              "them apart."),
        Wrong(lambda D, G, x, z, T: (D(x), D(T(G(z).detach())), D(T(G(z)))),
              "now the fakes are changed and the real images are not: D learns to call the change fake."),
        Wrong(lambda D, G, x, z, T: (D(x), D(G(z).detach()), D(G(z))),
              "without any change nothing leaks, and nothing helps: D sees the few images as they are and learns them "
              "by heart. Change all three instead."),
        Wrong(lambda D, G, x, z, T: (D(T(x)), D(T(G(z))), D(T(G(z)))),
              "all three are changed, but in D's step a gradient reaches G: the detach has got lost."),
        Wrong(lambda D, G, x, z, T: (D(T(x)), D(T(G(z).detach())), D(T(G(z).detach()))),
              "in G's step the fakes are cut off from G, so it learns nothing. The gradient has to pass through T "
              "into G, which is why T is differentiable: no detach there."),
    ],
    otherwise="three times D is asked. Which images does it get, and may the gradient pass to G?",
    because="D sees T(x) and T(G(z)) in its own step and in G's, so the change tells it nothing, and G is asked only "
            "to be indistinguishable under the change. The gradient passes through T (Zhao et al. 2020).")

LESSON = Lesson("04", "Image sets", [TO_TENSOR, BY_CHANCE, NEAREST, FILES, FLIP, SEES])
