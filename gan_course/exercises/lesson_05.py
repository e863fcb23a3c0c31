"""Exercises of lesson 05: transposed convolutions, checkerboards, and the two networks of DCGAN."""
import torch
import torch.nn.functional as F
from torch import nn

from ..dcgan import init_weights, period2_share
from ._dcgan import (
    discriminator_of_blocks,
    discriminator_of_the_course,
    generator_in_blocks,
    generator_of_blocks,
    generator_of_the_course,
    in_two_parts,
    init_by_pytorch,
    init_with_gradients,
    observe_discriminator,
    observe_generator,
    observe_init,
    solve_discriminator,
    solve_generator,
    solve_init,
    wrong_discriminator,
    wrong_generator,
    wrong_init,
)
from ._judge import Exercise, Lesson, Wrong

# --- 05.1


def observe_transposed(answer, dice):
    """Overlapping copies, copies with gaps, uneven kernels, no padding, and a single pixel."""
    for length, k, stride, padding in (5, 4, 2, 1), (4, 3, 2, 0), (3, 5, 3, 2), (3, 2, 3, 0), (1, 4, 1, 0):
        x, kernel = torch.randn(length, generator=dice), torch.randn(k, generator=dice)
        yield (f"{length} pixels, kernel of {k}, stride {stride}, padding {padding}",
               answer(x, kernel, stride, padding))


def solve_transposed(x, kernel, stride=2, padding=1):
    y = torch.zeros((len(x) - 1) * stride + len(kernel))
    for i, value in enumerate(x):
        y[i * stride:i * stride + len(kernel)] += value * kernel
    return y[padding:len(y) - padding]


def transposed_by_gathering(x, kernel, stride=2, padding=1):
    length, k = (len(x) - 1) * stride - 2 * padding + len(kernel), len(kernel)
    return torch.stack([
        sum((x[i] * kernel[j + padding - stride * i] for i in range(len(x)) if 0 <= j + padding - stride * i < k),
            torch.zeros(())) for j in range(length)])


def transposed_by_pytorch(x, kernel, stride=2, padding=1):
    return F.conv_transpose1d(x[None, None], kernel[None, None], stride=stride, padding=padding)[0, 0]


def apart(x, stride):
    """The pixels with stride - 1 zeros between them."""
    y = torch.zeros((len(x) - 1) * stride + 1)
    y[::stride] = x
    return y


def transposed_by_zeros(x, kernel, stride=2, padding=1):
    y = F.conv1d(apart(x, stride)[None, None], kernel.flip(0)[None, None], padding=len(kernel) - 1)[0, 0]
    return y[padding:len(y) - padding]


def unflipped(x, kernel, stride=2, padding=1):
    y = F.conv1d(apart(x, stride)[None, None], kernel[None, None], padding=len(kernel) - 1)[0, 0]
    return y[padding:len(y) - padding]


def wrong_transposed(stride_of=lambda s: s, add=True, weigh=True, cut=lambda y, p: y[p:len(y) - p]):
    """The scatter with a mistake in one place."""
    def transposed(x, kernel, stride=2, padding=1):
        stride, k = stride_of(stride), len(kernel)
        y = torch.zeros((len(x) - 1) * stride + k)
        for i, value in enumerate(x):
            copy = value * kernel if weigh else kernel
            y[i * stride:i * stride + k] = copy + (y[i * stride:i * stride + k] if add else 0)
        return cut(y, padding)
    return transposed


def strided(x, kernel, stride=2, padding=1):
    return F.conv1d(x[None, None], kernel[None, None], stride=stride, padding=padding)[0, 0]


def enlarged(x, kernel, stride=2, padding=1):
    y = x.repeat_interleave(stride)
    return F.conv1d(y[None, None], kernel[None, None], padding=padding)[0, 0]


TRANSPOSED = Exercise(
    "05.1", "A transposed convolution by hand", minutes=8, difficulty=2,
    hints=["Begin with zeros, long enough for all copies before anything is cut off: where does the last copy end?",
           "Pixel i puts its copy at the places i·stride to i·stride + k. Copies overlap, so add with `+=`.",
           "y = torch.zeros((len(x) - 1) * stride + len(kernel)); in the loop y[i * stride:i * stride + len(kernel)] "
           "+= x[i] * kernel; at the end y[padding:len(y) - padding]."],
    observe=observe_transposed, solution=solve_transposed,
    others=[transposed_by_gathering, transposed_by_pytorch, transposed_by_zeros],
    wrong=[
        Wrong(wrong_transposed(add=False),
              "later copies overwrite earlier ones. Where copies overlap, they add: use += on the slice."),
        Wrong(wrong_transposed(cut=lambda y, p: y),
              "the padding has not been cut off. In a transposed convolution it makes the result *shorter*, by p "
              "pixels at each side."),
        Wrong(wrong_transposed(cut=lambda y, p: F.pad(y, (p, p))),
              "the padding has been added. A convolution pads its input; seen from the other side, that is a result "
              "whose margins are cut off."),
        Wrong(wrong_transposed(cut=lambda y, p: y[p:]),
              "the padding is cut off at one side only."),
        Wrong(wrong_transposed(cut=lambda y, p: y[p:-p]),
              "y[padding:-padding] is empty where the padding is 0, since -0 is the beginning. Write y[padding:len(y) "
              "- padding]."),
        Wrong(wrong_transposed(stride_of=lambda s: 1),
              "the copies lie one pixel apart whatever the stride. Copy i begins at i·stride."),
        Wrong(wrong_transposed(weigh=False),
              "every pixel has put down the same copy. A copy is multiplied by the value of its pixel."),
        Wrong(unflipped,
              "the kernel is turned round. Zeros between the pixels and an ordinary convolution are a right way too, "
              "but F.conv1d does not flip its kernel, so you have to."),
        Wrong(strided,
              "this is the strided convolution, which makes the row shorter. Here each *input* pixel moves by the "
              "stride, in the output."),
        Wrong(enlarged,
              "this repeats the pixels and then convolves (a resize-convolution, which this lesson comes to). A "
              "transposed convolution puts down copies of the kernel."),
    ],
    otherwise="each input pixel adds its value times the kernel to the output, `stride` places further than the pixel "
              "before; at the end the padding is cut off at both sides.",
    because="This is the scatter form. The sum in the formula, which collects for each output pixel what reaches it, "
            "is the gather form of the same thing.")

# --- 05.2


def observe_copies(answer, dice):
    """Six numbers, in pairs or in a row."""
    parts = answer if isinstance(answer, list | tuple) else [answer]
    yield "your six numbers", [v for part in parts for v in (part if isinstance(part, list | tuple) else [part])]


COPIES = Exercise(
    "05.2", "How many copies reach a pixel?", minutes=4, difficulty=1,
    hints=["Draw the copies of a kernel of 3 in one dimension, two pixels apart. How many lie over each pixel?",
           "In one dimension it is 1 or 2 for a kernel of 3, always 2 for a kernel of 4, and 2 or 3 for a kernel of 5.",
           "Rows and columns are independent, so the numbers of one dimension are multiplied: 1·1 and 2·2, and so on."],
    solution=[1, 4, 4, 4, 4, 9], observe=observe_copies,
    wrong=[
        Wrong([1, 2, 2, 2, 2, 3], "right in one dimension. In an image each of the copies in a row meets each of those "
                                  "in a column, so the numbers are multiplied."),
        Wrong([2, 4, 4, 4, 4, 6], "you have added the numbers of rows and columns. Each copy in a row meets each in a "
                                  "column: multiply them."),
        Wrong([9, 9, 16, 16, 25, 25], "this counts the weights of a kernel. A pixel lies under one weight of each copy "
                                      "that reaches it, and copies lie two pixels apart."),
        Wrong([1, 1, 1, 1, 1, 1], "copies that lie two pixels apart do overlap if they are more than two pixels wide."),
        Wrong([1, 4, 4, 4, 9, 9], "a kernel of 5 reaches some pixels by 3 copies in a row and others by 2 only: 5 is "
                                  "no multiple of 2."),
        Wrong([1, 4, 4, 4, 4, 4], "in a kernel of 5 the weights 0, 2 and 4 lie over the same kind of pixel: three "
                                  "copies in a row, nine in the image."),
        Wrong([2, 4, 4, 4, 6, 9], "the fewest copies of kernels 3 and 5 are where both row and column have the smaller "
                                  "number, 1·1 and 2·2. You have multiplied the smaller by the larger."),
        Wrong([1, 4, 2, 4, 4, 9], "a kernel of 4 with stride 2 reaches every pixel by exactly 2 copies in a row, "
                                  "because 2 divides 4."),
    ],
    otherwise="six numbers: fewest and most copies for 3×3, for 4×4 and for 5×5. Count in one dimension first, and "
              "then multiply.",
    because="Of a kernel of k, the weights of equal parity meet the same output pixel: 2 and 1 of them for k = 3, 2 "
            "and 2 for k = 4, 3 and 2 for k = 5. In two dimensions the numbers are multiplied.")

# --- 05.3


def observe_share(answer, dice):
    """Noise, sizes that differ, stripes in either direction, a checkerboard, a slow wave, unequal contrasts."""
    noise = torch.randn(4, 3, 8, 8, generator=dice)
    yield "noise with the mean 3", float(answer(noise + 3))
    yield "noise, 8×6 pixels", float(answer(torch.randn(2, 1, 8, 6, generator=dice)))
    row, col = torch.meshgrid(torch.arange(8.), torch.arange(8.), indexing="ij")
    for what, pattern in (("columns of period 2", col % 2), ("rows of period 2", row % 2),
                          ("a checkerboard", (row + col) % 2), ("columns of period 4", col // 2 % 2)):
        yield f"{what} beside some noise", float(answer(pattern + .1 * noise))
    contrasts = torch.tensor([1., .1, 3., .3])[:, None, None, None]
    yield "four images of unequal contrast and brightness", float(answer(contrasts * (noise + col % 2 + 1)))


def solve_share(images):
    images = images - images.mean((2, 3), keepdim=True)
    energy = torch.fft.fft2(images).abs()**2
    h, w = images.shape[2:]
    fast = torch.zeros(h, w, dtype=torch.bool)
    fast[h // 2, :] = True
    fast[:, w // 2] = True
    return energy[..., fast].sum() / energy.sum()


def share_by_slices(images):
    energy = torch.fft.fft2(images).abs().square().sum((0, 1))
    h, w = energy.shape[0] // 2, energy.shape[1] // 2
    return (energy[h].sum() + energy[:, w].sum() - energy[h, w]) / (energy.sum() - energy[0, 0])


def share_by_signs(images):
    """Without a transform: what an alternating sum over rows or columns leaves (Parseval)."""
    x = images - images.mean((2, 3), keepdim=True)
    h, w = x.shape[2:]
    up, across = (-1.)**torch.arange(h)[:, None], (-1.)**torch.arange(w)
    rows, columns = (x * up).sum(2).square().sum() * w, (x * across).sum(3).square().sum() * h
    corner = (x * up * across).sum((2, 3)).square().sum()
    return (rows + columns - corner) / (h * w * x.square().sum())


def wrong_share(centre=(2, 3), power=2, where="cross", shift=False):
    """The share with a mistake in one place."""
    def share(images):
        if centre is not None: images = images - images.mean(centre, keepdim=True)
        energy = torch.fft.fft2(images).abs()**power
        if shift: energy = torch.fft.fftshift(energy, dim=(2, 3))
        h, w = images.shape[2] // 2, images.shape[3] // 2
        if where == "last": h, w = -1, -1
        rows, columns, corner = energy[:, :, h].sum(), energy[..., w].sum(), energy[:, :, h, w].sum()
        part = {"cross": rows + columns - corner, "last": rows + columns - corner, "twice": rows + columns,
                "corner": corner, "rows": rows, "columns": columns}[where]
        return part / energy.sum()
    return share


def half_spectrum(images):
    energy = torch.fft.rfft2(images - images.mean((2, 3), keepdim=True)).abs()**2
    h = images.shape[2] // 2
    return (energy[:, :, h].sum() + energy[..., -1].sum() - energy[:, :, h, -1].sum()) / energy.sum()


def mean_of_shares(images):
    return torch.stack([solve_share(image[None]) for image in images]).mean()


SHARE = Exercise(
    "05.3", "The energy at period 2", minutes=9, difficulty=3,
    hints=["Take each channel's mean away first, then `torch.fft.fft2(images).abs()**2`. Which row of it belongs to "
           "the frequency H/2?",
           "A pattern of period 2 from row to row is in energy[..., H // 2, :], one from column to column in "
           "energy[..., :, W // 2]. Where the two cross is an entry that belongs to both.",
           "Add the row and the column, subtract energy[..., H // 2, W // 2], which was counted twice, and divide by "
           "energy.sum()."],
    observe=observe_share, solution=solve_share, use=period2_share, others=[share_by_slices, share_by_signs],
    wrong=[
        Wrong(wrong_share(centre=None),
              "the brightness is still in it. The frequency 0 holds the energy of the mean, which is no pattern, and "
              "it outweighs all others: take the mean of each channel of each image away first."),
        Wrong(wrong_share(centre=(0, 1, 2, 3)),
              "one mean was taken of the whole batch. Bright and dark images then keep energy at the frequency 0; each "
              "channel of each image needs its own mean."),
        Wrong(wrong_share(power=1),
              "these are amplitudes. Energy is the square of the absolute value."),
        Wrong(wrong_share(where="corner"),
              "only the pure checkerboard is counted. Stripes of period 2 stand in the rest of the row H/2 and of the "
              "column W/2."),
        Wrong(wrong_share(where="twice"),
              "the entry (H/2, W/2) is counted twice: it lies in the row and in the column."),
        Wrong(wrong_share(where="rows"),
              "only one direction is counted, the period from row to row. Take the column W/2 as well."),
        Wrong(wrong_share(where="columns"),
              "only one direction is counted, the period from column to column. Take the row H/2 as well."),
        Wrong(wrong_share(where="last"),
              "the last index is the frequency -1, one slow wave over the whole image. The fastest stands in the "
              "middle, at H // 2."),
        Wrong(wrong_share(shift=True),
              "fftshift has moved the frequency 0 into the middle, and the fastest to the edge. Leave the shift out, "
              "or take the index 0."),
        Wrong(half_spectrum,
              "rfft2 gives half of the spectrum: all columns but the first and the last stand for two. Either count "
              "them twice, or take fft2."),
        Wrong(mean_of_shares,
              "this is the mean of the images' shares. Sum the energies of all images first and divide once, so that a "
              "flat image does not count as much as one full of contrast."),
    ],
    otherwise="mean away, fft2, absolute value squared; then the row H/2 and the column W/2, each entry once, over the "
              "sum of all.",
    because="A pattern of period 2 is a wave that changes its sign from pixel to pixel: frequency H/2 or W/2, the "
            "fastest that a grid can hold. White noise has (H + W - 1)/(HW - 1) there, 6.2 % at 32×32.", rtol=1e-3)

# --- 05.4

GENERATOR = Exercise(
    "05.4", "The generator from the list", minutes=12, difficulty=2,
    hints=["Read the staircase from below: the latent is a map of 1×1 with latent_dim channels. Which kernel, stride "
           "and padding make 4×4 of it, by (1 - 1)·s - 2p + k?",
           "Three blocks of transposed convolution, batch norm and ReLU make 4×4, 8×8 and 16×16 with 4·base, 2·base "
           "and base channels. A last transposed convolution makes the image; nothing but tanh follows it.",
           "First layer: nn.ConvTranspose2d(latent_dim, 4 * base, 4, bias=False). Doublings: nn.ConvTranspose2d(4 * "
           "base, 2 * base, 4, 2, 1, bias=False). Last: nn.ConvTranspose2d(base, 3, 4, 2, 1), with its bias."],
    observe=observe_generator, solution=solve_generator, others=[generator_of_blocks, generator_of_the_course],
    wrong=[
        Wrong(wrong_generator(end=None),
              "the tanh is missing: nothing keeps the pixels in [-1, 1]."),
        Wrong(wrong_generator(end=nn.Sigmoid),
              "a sigmoid ends in [0, 1]. The images of this course lie in [-1, 1], so that black is -1: the paper has "
              "tanh."),
        Wrong(wrong_generator(norm_last=True),
              "there is batch norm at the output. The list leaves it out there: it would prescribe the mean and the "
              "contrast of every batch of images."),
        Wrong(wrong_generator(bias=True),
              "the layers before a batch norm have a bias. Batch norm takes each channel's mean away, so the bias is "
              "lost at once, and it brings a shift of its own: bias=False."),
        Wrong(wrong_generator(last_bias=False),
              "the last layer has no bias. No batch norm follows it, so nothing else could set the mean colour."),
        Wrong(wrong_generator(act=lambda: nn.LeakyReLU(.2)),
              "LeakyReLU is D's. The generator has ReLU."),
        Wrong(wrong_generator(norm_first=False),
              "batch norm comes after ReLU. In the paper it stands between the convolution and its activation, so that "
              "about half of the units are active."),
        Wrong(wrong_generator(norm=(False, True, True)),
              "the first block has no batch norm. Only the *output* of G goes without."),
        Wrong(wrong_generator(norm=(False, False, False), bias=True),
              "there is no batch norm at all. The list wants it behind every layer but the last."),
        Wrong(wrong_generator(kernel=(3, 2, 1, 0)),
              "a kernel of 3 with stride 2 and padding 1 makes 4, 7, 13, 25 pixels: (n - 1)·2 - 2 + 3 = 2n - 1. The "
              "kernel of 4 doubles exactly."),
        Wrong(wrong_generator(kernel=(3, 2, 1, 1)),
              "with kernels of 3 and output_padding the sizes are right, but the copies reach the pixels unevenly, as "
              "you have counted in 05.2. This course takes 4×4."),
        Wrong(wrong_generator(kernel=(5, 2, 2, 1)),
              "these are the paper's own 5×5 kernels. The course departs from it here and takes 4×4, which 2 divides."),
        Wrong(wrong_generator(first=(4, 2, 1)),
              "the first layer has the stride and padding of the others and makes 2×2 of 1×1, so that the image ends "
              "with 16 pixels. It takes stride 1 and no padding."),
        Wrong(wrong_generator(widths=(8, 4, 2, 1)),
              "there is one doubling too many: 4, 8, 16, 32 and then 64 pixels."),
        Wrong(wrong_generator(widths=(1, 2, 4)),
              "the channels grow on the way to the image. Where the map is small it has to hold much in each place: "
              "4·base channels at 4×4, and half as many after each doubling."),
        Wrong(wrong_generator(widths=(1, 1, 1)),
              "all maps have `base` channels. The widths are 4·base, 2·base and base."),
        Wrong(wrong_generator(dense=True),
              "this projects by a linear layer, as the paper does; it is the same map. Here a transposed convolution "
              "of the 1×1 latent is wanted, into which the weights of the ready generator fit."),
        Wrong(generator_in_blocks,
              "the layers are right, but they stand in blocks. Later cells walk through them one by one, so let it be "
              "one nn.Sequential of single layers: unpack lists of layers with a star."),
        Wrong(wrong_generator(resize=True),
              "this is the resize-convolution of the last section. It is a good choice, but not DCGAN's: the list "
              "wants fractionally strided, that is transposed, convolutions."),
    ],
    otherwise="compare with the list and the staircase, layer by layer: kernel 4 everywhere, stride 1 without padding "
              "first, then stride 2 with padding 1.",
    because="Each line of the list is one decision: where the size doubles, where batch norm stands and where not, "
            "which activation, and what ends in [-1, 1].")

# --- 05.5

DISCRIMINATOR = Exercise(
    "05.5", "The discriminator from the list", minutes=8, difficulty=2,
    hints=["It is the staircase downwards: 32×32, 16×16, 8×8, 4×4, with base, 2·base and 4·base channels.",
           "The first block has a convolution with its bias, and LeakyReLU, but no batch norm. The other two have a "
           "convolution without bias, batch norm, LeakyReLU(0.2).",
           "The head: nn.Flatten(), nn.Linear(4 * base * 16, 1), nn.Flatten(0). Nothing follows, since the loss takes "
           "logits."],
    observe=observe_discriminator, solution=solve_discriminator,
    others=[discriminator_of_blocks, discriminator_of_the_course],
    wrong=[
        Wrong(wrong_discriminator(end=(nn.Sigmoid,)),
              "there is a sigmoid at the end. The losses of lesson 01 take logits and contain the sigmoid already; a "
              "second one would squeeze every answer into 0 to 1."),
        Wrong(wrong_discriminator(end=(nn.Tanh,)),
              "tanh belongs to G's output. A logit may be any number."),
        Wrong(wrong_discriminator(first_norm=True),
              "there is batch norm at D's input layer. The list leaves it out there: D would hardly see the brightness "
              "and the contrast of a batch."),
        Wrong(wrong_discriminator(first_norm=True, first_bias=False),
              "there is batch norm at D's input layer, in place of the bias. The list leaves it out there: D would "
              "hardly see the brightness and the contrast of a batch."),
        Wrong(wrong_discriminator(act=nn.ReLU),
              "ReLU is G's. D has LeakyReLU, whose gradient reaches G through inactive units too."),
        Wrong(wrong_discriminator(act=nn.LeakyReLU),
              "the slope is PyTorch's default of 0.01. The paper takes 0.2."),
        Wrong(wrong_discriminator(bias=True),
              "the convolutions before a batch norm have a bias, which batch norm takes away at once: bias=False."),
        Wrong(wrong_discriminator(first_bias=False),
              "the first convolution has no bias. No batch norm follows it that could bring one."),
        Wrong(wrong_discriminator(norm=False, bias=True),
              "there is no batch norm. The list wants it in D too, in all layers but the first."),
        Wrong(wrong_discriminator(norm_first=False),
              "batch norm comes after LeakyReLU. It stands between a convolution and its activation."),
        Wrong(wrong_discriminator(flat=False),
              "the logits have the shape (B,1). The losses of this course take (B,), one number an image; "
              "nn.Flatten(0) at the end makes it so."),
        Wrong(wrong_discriminator(pool=True),
              "the maps are halved by max pooling. The list wants strided convolutions, which learn how to halve."),
        Wrong(wrong_discriminator(kernel=3),
              "kernels of 3 halve the maps as well, with padding 1. The course takes 4×4 in both networks: with stride "
              "2 a 3×3 kernel looks at some pixels four times as often as at others."),
        Wrong(wrong_discriminator(head="gap"),
              "the head takes the mean over the positions. That is the other head, which comes next; here the 4×4 map "
              "is flattened."),
        Wrong(wrong_discriminator(head="hidden"),
              "there is a hidden linear layer. The list removes fully connected hidden layers: the flattened map goes "
              "into one logit at once."),
        Wrong(in_two_parts,
              "the layers are right, but they stand in blocks. Later cells walk through them one by one, so let it be "
              "one nn.Sequential of single layers: unpack lists of layers with a star."),
        Wrong(wrong_discriminator(widths=(4, 2, 1)),
              "the widths are the generator's. D has few channels where the map is large, base, and 4·base at 4×4."),
        Wrong(wrong_discriminator(widths=(1, 1, 1)),
              "all maps have `base` channels. They double as the size halves: base, 2·base, 4·base."),
    ],
    otherwise="compare with the list and the staircase, layer by layer: kernel 4, stride 2, padding 1 throughout, then "
              "flatten and one linear layer.",
    because="D mirrors G: strided where G is transposed, LeakyReLU for ReLU, no batch norm where the image is, and a "
            "logit without sigmoid.")

# --- 05.6

INIT = Exercise(
    "05.6", "The first weights", minutes=6, difficulty=2,
    hints=["Go through model.modules() and ask each with isinstance what it is. Batch norm has a `weight` too.",
           "m.weight.normal_(0, 0.02, generator=generator) draws in place. Put @torch.no_grad() above the function, "
           "since autograd forbids changes of a parameter in place.",
           "Conv2d, ConvTranspose2d and Linear: weights from N(0, 0.02²). BatchNorm2d: weights 1 (or N(1, 0.02²), as "
           "in the authors' code). All biases: zero_(). Return the model."],
    observe=observe_init, solution=solve_init, use=init_weights, others=[init_by_pytorch],
    wrong=[
        Wrong(wrong_init(std=.02**2),
              "the variance was taken for the standard deviation. N(0, 0.02²) has the standard deviation 0.02, and "
              "normal_ wants that."),
        Wrong(wrong_init(std=.02**.5),
              "0.02 was taken for the variance. It is the standard deviation already; no root is needed."),
        Wrong(wrong_init(scale=0.),
              "the scales of batch norm are drawn around 0 like all other weights. Then every layer passes on two per "
              "cent of the signal, and half of the channels with the wrong sign: they belong around 1."),
        Wrong(wrong_init(shift=.02),
              "the biases are drawn as well. The paper draws the weights; biases and shifts start at 0."),
        Wrong(wrong_init(shift=None),
              "the biases are as they were. PyTorch draws those of convolutions and linear layers; the paper's "
              "networks start with 0."),
        Wrong(wrong_init(kinds=(nn.Conv2d, nn.Linear)),
              "the transposed convolutions are left out. nn.ConvTranspose2d is no nn.Conv2d, so isinstance does not "
              "find it."),
        Wrong(wrong_init(kinds=(nn.Conv2d, nn.ConvTranspose2d)),
              "D's head is left out: nn.Linear has weights too."),
        Wrong(wrong_init(uniform=True),
              "the deviation is right but the weights are uniform. The paper draws from a normal distribution, which "
              "has a few weights beyond 0.05."),
        Wrong(wrong_init(chance=False),
              "the numbers do not come from the given generator, so that the same seed does not give the same weights. "
              "Pass generator=generator on."),
        Wrong(wrong_init(back=False),
              "nothing is returned. The weights are right, but what follows calls init(Generator(…), …) and wants the "
              "network back."),
        Wrong(init_with_gradients,
              "a parameter that needs a gradient must not be changed in place while autograd watches: @torch.no_grad() "
              "above the function."),
    ],
    otherwise="kernels and the head from N(0, 0.02²), scales of batch norm around 1, biases and shifts 0, all from the "
              "generator that is given.",
    because="The paper draws all weights from a normal distribution with the standard deviation 0.02. That the scales "
            "of batch norm are drawn around 1 stands in the authors' code only.")

LESSON = Lesson("05", "DCGAN: the networks", [TRANSPOSED, COPIES, SHARE, GENERATOR, DISCRIMINATOR, INIT])
