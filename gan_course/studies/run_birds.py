"""The command of the study of birds: does what is missing of its runs and measurements, and keeps the results.

heads    64×64, heads gap and fc, two seeds each: 250,000 images a run, an hour of one core
claims   32×32, both heads, one change at a time: 75,000 images a run, some minutes of one core
few      32×32, head fc, remedies for few images, two seeds each: 100,000 images a run
heat     where the discriminators of `heads`, of some of `claims` and of the ready run look: some minutes each
looks    sharpness and colours of photographs and of the images of the same runs
copies   whether the birds of the ready run are copies of photographs: some minutes

The first three write 20_birds_GROUP.json: settings, losses by epoch, slope of D and spread of the images, and in
`heads` and `few` FID, KID, precision, recall and coverage against the training images, KID against the held-out ones
too; what real held-out images reach stands beside them. 20_birds_GROUP.png has images of the generators themselves, a
row for each run; 20_birds_film.png has five latents of each run of `heads` by its moving average, at every epoch that
was kept. `heat` writes the shares by run, epoch, layer and method (epoch 0 is a D that was not trained) into
20_birds_heat.json, and those of every image for the last epoch into 20_birds_heat.csv. A row that is there is not made
again, and a run that was interrupted goes on.
"""
import csv
import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
import torchvision
from torch import Tensor
from tyro.conf import Positional

from gan_course.core import ImageSet, InputError, image_grid, seeded
from gan_course.data import load_images
from gan_course.evaluation import gather, real_stats
from gan_course.fid import FeatureStats
from gan_course.gradcam import METHODS, box_masks, explain
from gan_course.latent import RealIndex
from gan_course.runs import Run, open_run, ready_run
from gan_course.settings import TrainConfig
from gan_course.sources import from_generator, from_images
from gan_course.steps import generate
from gan_course.storage import atomic_write
from gan_course.training import Diverged, train_or_open

from .birds import (
    BINS,
    GROUPS,
    HEADS,
    MOVED,
    SMALL,
    edge_maps,
    heat_in_boxes,
    look_of,
    moving_both,
    nearest_photographs,
    scores,
    slope_of_d,
    spread,
)
from .common import StudyOptions, folder_name, in_processes, parsed, read_report, run_command, untrained, write_report

COMMAND = "python -m gan_course.studies.birds"
CURVES = ("d_loss_real", "d_loss_fake", "g_loss", "d_acc_real", "d_acc_real_test", "d_acc_fake")  # of the history
# group → generators that are measured: weights, moving average or not
MEASURED: dict[str, list[tuple[str, bool]]] = {
    "heads": [("last", True), ("last", False)], "claims": [], "few": [("last", False)]}
LOOKED_AT = {f"heads: {name}": ("heads", name) for name in HEADS} | {  # runs whose D and images are looked at closely
    f"claims: {name}": ("claims", name) for name in ("gap", "fc", "gap, whole photographs", "fc, whole photographs")}


@dataclass
class BirdsOptions(StudyOptions):
    """What to do, and where."""

    runs: Path = Path("_runs/birds")  # folder of the runs
    parts: Positional[tuple[Literal["heads", "claims", "few", "heat", "looks", "copies"], ...]] = ()  # one or several


@dataclass(frozen=True)
class Scale:
    """On which images the study is done, and how much of it."""

    data: str = "cub200"
    ready: str = "cub200-dcgan"  # the run that comes with the package
    extractor: str = "inception"
    n_fake: int = 1000  # generated images to be measured
    n_looks: int = 1500  # whose look is taken
    n_copies: int = 500  # among which copies are searched
    limit: int | None = None  # held-out images; None: all
    smaller: dict = field(default_factory=dict)  # settings of the runs that are other ones

    def plan(self, group: str) -> dict[str, TrainConfig]:
        """The runs of a group, by name."""
        crop = {} if self.data == "cub200" else dict(crop="box")  # others have no boxes to cut out
        return {name: replace(config, **self.smaller, **crop) for name, config in GROUPS[group].items()}

    def read(self, split: str, size: int | None) -> ImageSet:
        """Cut-out birds of this size."""
        return load_images(self.data, split, size=size, limit=self.limit, progress=False)


FULL = Scale()
TINY = Scale("toy-birds", "toy-birds-dcgan", "small", 80, 50, 20, 96,
             dict(data="toy-birds", limit=96, base_channels=8, batch_size=32, epochs=1))


def settings(config: TrainConfig) -> dict:
    """What a run has other than `SMALL`: by name and settings its row is known again."""
    return {k: v for k, v in asdict(config).items() if v != getattr(SMALL, k)}


@functools.cache
def statistics(data: str, split: str, size: int, crop: str, limit: int | None, extractor: str) -> FeatureStats:
    """Statistics of photographs; those of toy size are not kept."""
    images = load_images(data, split, size=size, crop=crop, limit=limit, progress=False)
    if extractor == "small":
        return gather(from_images(images), extractor, progress=False)
    stats = real_stats(images, extractor, progress=False)
    assert isinstance(stats, FeatureStats)
    return stats


def both_sides(config: TrainConfig, scale: Scale) -> list[FeatureStats]:
    """Statistics of the training images of a run, and of the held-out ones."""
    how = dict(size=config.size, crop=config.crop, extractor=scale.extractor)
    return [statistics(config.data, "train", limit=config.limit, **how),
            statistics(config.data, "test", limit=scale.limit, **how)]


def measurements(run: Run, which: list[tuple[str, bool]], scale: Scale) -> Iterator[dict]:
    """One row for each of these generators."""
    for weights, average in which:
        source = from_generator(run.generator(weights, ema=average), scale.n_fake, 0, run.path.name)
        fake = gather(source, scale.extractor, progress=False)
        row = dict(epoch=run.epoch_of(weights), average=average, n_fake=scale.n_fake)
        yield row | scores(fake, *both_sides(run.config, scale))


def course(run: Run) -> dict:
    """How the training of a run went."""
    def rounded(value): return None if value is None else float(f"{value:.4g}")
    history = run.history
    return dict(
        precision=run.config.precision, torch=torch.__version__, images=history[-1]["images"] if history else 0,
        minutes=round(sum(row["seconds"] for row in history) / 60, 1), measured=[],
        curves={name: [rounded(row[name]) for row in history] for name in CURVES})


def one_run(job: tuple[str, str, TrainConfig], runs: Path, scale: Scale) -> dict:
    """A run trained and measured: what the lesson shows of it."""
    group, name, config = job
    row: dict = dict(name=name, config=settings(config))
    folder = runs/group/folder_name(name)
    how: dict = dict(g_step=moving_both()) if MOVED in name else {}
    if scale.limit is not None:
        how["test_images"] = scale.read("test", config.size)
    try:
        run = train_or_open(config, folder, progress=False, **how)
    except Diverged as e:
        run, row["diverged"] = open_run(folder), str(e)
    row |= course(run)
    if "diverged" not in row:
        which = list(MEASURED[group])
        if group == "few" and name.startswith("nothing"):
            which.append(("last", True))  # the remedy "moving average"
        row["measured"] = list(measurements(run, which, scale))
        row |= dict(slope=round(slope_of_d(run), 3), spread=round(spread(run, scale.n_fake), 3))
    outcome = row.get("diverged") or f"spread {row['spread']}, {row['measured']}"
    print(f"{group}: {name}: {row['minutes']} min, {outcome}", flush=True)
    return row


def done_already(rows: list[dict], plan: dict[str, TrainConfig]) -> list[dict]:
    """The rows that belong to this plan: the same name, made with the same settings."""
    return [row for row in rows if row["name"] in plan and row["config"] == settings(plan[row["name"]])]


def train_group(group: str, o: BirdsOptions, scale: Scale) -> None:
    """All runs of a group whose row is missing; the file is written after each."""
    plan, file = scale.plan(group), o.out/f"20_birds_{group}.json"
    rows, order = done_already(read_report(file).get("runs", []), plan), list(plan)
    names = {row["name"] for row in rows}
    missing = [(group, name, config) for name, config in plan.items() if name not in names]
    if missing:
        photographs = scale.read("train", 32)
        report = dict(data=f"{scale.data}, {len(photographs)} training images", common=asdict(SMALL))
        if MEASURED[group]:
            real, held_out = both_sides(missing[0][2], scale)
            report["held_out"] = dict(n=held_out.n) | scores(held_out, real)
        for row in in_processes(functools.partial(one_run, runs=o.runs, scale=scale), missing, o.jobs):
            rows = sorted([*rows, row], key=lambda row: order.index(row["name"]))
            write_report(file, f"{COMMAND} {group}", o, **report, runs=rows)
    folders = [o.runs/group/folder_name(name) for name in order]
    if all(folder.exists() for folder in folders):
        draw(group, [open_run(folder) for folder in folders], o.out)
    print(f"{len(rows)} of {len(plan)} runs in {file}")


def draw(group: str, runs: list[Run], out: Path) -> None:
    """The pictures of a group: eight latents by each generator itself, and the films of `heads`."""
    z = torch.randn(8, SMALL.latent_dim, generator=seeded(0))
    by_itself = [generate(run.generator("last", ema=False), z) for run in runs]
    write_png(torch.cat(by_itself), 8, out/f"20_birds_{group}.png")
    if group == "heads":
        film = [run.samples(epoch)[:5] for run in runs for epoch in run.kept]
        write_png(torch.cat(film), 5 * len(runs[0].kept), out/"20_birds_film.png")


def write_png(images: Tensor, cols: int, file: Path) -> None:
    """A grid of images as a file."""
    with atomic_write(file) as part:
        torchvision.io.write_png(image_grid(images, cols), str(part))


def looked_at(runs: Path, scale: Scale) -> dict[str, Run]:
    """Name → run, of those on the disk that are complete, and of the ready run."""
    found = {}
    for name, (group, run_name) in LOOKED_AT.items():
        folder = runs/group/folder_name(run_name)
        if not folder.exists():
            continue
        run = open_run(folder)
        if len(run.history) == run.config.epochs:
            found[name] = run
    return found | {scale.ready: ready_run(scale.ready)}


def boxes_of(data: ImageSet) -> Tensor:
    """Where the birds are, as the photographs' own tables say."""
    assert data.boxes is not None
    return data.boxes


def to_hold_against(data: ImageSet, boxes: Tensor) -> Iterator[dict]:
    """Rows of maps that know nothing of D: edges, the box itself, and all but the box."""
    for places in (data.img_size // 2, 8, 4):
        found = heat_in_boxes(edge_maps(data.images, places), boxes_of(data))[1]
        yield dict(run="edges", places=f"{places}×{places}") | found
    for name, maps in (("the box itself", boxes), ("all but the box", 1 - boxes)):
        yield dict(run=name) | heat_in_boxes(maps, boxes_of(data))[1]


def heat_of(name: str, run: Run, data: ImageSet, about: dict) -> tuple[list[dict], dict[str, Tensor]]:
    """Rows by epoch, layer and method, and the shares of every image by the last D."""
    rows, by_image = [], {}
    for epoch in [0, *run.kept]:
        D = run.discriminator(epoch) if epoch else untrained(run)
        seen = explain(D, data, limit=len(data))
        for layer, (_, h, w) in seen.layers.items():
            for method in METHODS:
                by_image[f"{h}×{w} {method}"], found = heat_in_boxes(seen.heat[layer][method], boxes_of(data))
                place = dict(run=name, epoch=epoch, places=f"{h}×{w}", layer=layer, method=method)
                rows.append(place | dict(head=run.config.head, seed=run.config.seed) | about | found)
        ratios = [f"{row['places']} {row['method']} {row['ratio']:.2f} ({row['beyond']:+.2f})" for row in rows]
        print(f"{name} epoch {epoch}: " + ", ".join(ratios[-2 * len(seen.layers):]), flush=True)
    return rows, by_image


def heat(o: BirdsOptions, scale: Scale) -> None:
    """Shares of the heat inside the boxes of held-out images."""
    file, table = o.out/"20_birds_heat.json", o.out/"20_birds_heat.csv"
    rows, images = read_report(file).get("rows", []), read_table(table)
    for name, run in looked_at(o.runs, scale).items():
        about = dict(size=run.img_size, crop=run.config.crop)
        known = {row["run"] for row in rows if about.items() <= row.items()}
        if {"edges", name} <= known:
            continue
        data = run.images("test", limit=scale.limit, progress=False)
        boxes = box_masks(boxes_of(data), data.images.shape[2:])
        new = [] if "edges" in known else [{**row, **about} for row in to_hold_against(data, boxes)]
        if name not in known:
            of_run, by_image = heat_of(name, run, data, about)
            new += of_run
            if run.config.crop == "box" and run.config.seed == 0:
                shares = {"area": boxes.mean((1, 2))} | by_image
                for i in range(len(data)):
                    images.append(dict(run=name, image=i) | {k: f"{x[i]:.3f}" for k, x in shares.items()})
        rows += [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in new]
        write_table(table, images)
        protocol = f"{len(data)} held-out images, boxes, verdict \"fake\""
        write_report(file, f"{COMMAND} heat", o, protocol=protocol, rows=rows)
    print(f"{len(rows)} rows in {file}")


def read_table(file: Path) -> list[dict]:
    """Rows of a CSV file, none if it is not there."""
    if not file.exists():
        return []
    with open(file, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def write_table(file: Path, rows: list[dict]) -> None:
    """Rows as CSV, with the columns of all."""
    with atomic_write(file) as part, open(part, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, dict.fromkeys(k for row in rows for k in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def looks(o: BirdsOptions, scale: Scale) -> None:
    """Blurred and green? Photographs, and images of runs by their averages and, where kept, by the generators."""
    file = o.out/"20_birds_looks.json"
    rows = read_report(file).get("rows", [])
    for name, run in looked_at(o.runs, scale).items():
        size, known = run.img_size, {(row["name"], row["size"]) for row in rows}
        if run.config.crop != "box" or {("real", size), (name, size)} <= known:
            continue
        if ("real", size) not in known:
            for split in ("train", "test"):
                rows.append(dict(name="real", size=size, which=split) | look_of(scale.read(split, size).images))
        z = torch.randn(scale.n_looks, run.config.latent_dim, generator=seeded(1))
        for which in ("average",) if "packed" in run.info else ("average", "itself"):
            made = generate(run.generator("last", ema=which == "average"), z)
            rows.append(dict(name=name, size=size, which=which) | look_of(made))
        write_report(file, f"{COMMAND} looks", o, edges={k: v.tolist() for k, v in BINS.items()}, rows=rows)
    for row in rows:
        print({k: v for k, v in row.items() if "counts" not in k})
    print(f"{len(rows)} rows in {file}")


def copies(o: BirdsOptions, scale: Scale) -> None:
    """Nearest training photographs of the ready run's images, beside those of held-out photographs."""
    n, run, file = scale.n_copies, ready_run(scale.ready), o.out/"20_birds_copies.json"
    if read_report(file):
        print(f"{file} is there already")
        return
    train, held_out = (scale.read(split, run.img_size).images for split in ("train", "test"))
    G = run.generator()
    some = held_out[torch.randperm(len(held_out), generator=seeded(2))[:n]]
    made = generate(G, torch.randn(n, run.config.latent_dim, generator=seeded(2)))
    sets = {"generated": made, "held-out photographs": some}
    index = RealIndex(train, scale.extractor)
    rows = [dict(name=name) | nearest_photographs(images, index) for name, images in sets.items()]
    write_report(file, f"{COMMAND} copies", o, latents=f"{n} by seeded(2)", rows=rows)
    for row in rows:
        distance = torch.tensor(row["distance"])
        print(f"{row['name']}: median distance {distance.median():.2f}, smallest {distance.min():.2f}")


def main() -> None:
    """What the options ask for, one after the other."""
    o = parsed(BirdsOptions, COMMAND, __doc__)
    scale = TINY if o.tiny else FULL
    if not o.parts:
        raise InputError("say which parts: heads, claims, few, heat, looks, copies, one or several of them")
    measure = dict(heat=heat, looks=looks, copies=copies)
    for part in o.parts:
        if part in measure:
            measure[part](o, scale)
        else:
            train_group(part, o, scale)


def run_study() -> None:
    """The command `python -m gan_course.studies.birds`."""
    run_command(main)
