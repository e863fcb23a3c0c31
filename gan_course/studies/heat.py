"""Where a discriminator looks: heat inside the bird, by data, head, layer, method and target → 10_gradcam_heat.json.

Trains four small DCGANs (toy birds and CUB-200-2011 at 32 pixels, each with both heads; about seven minutes of
processor time), then measures on held-out real images: these four, the same networks before training, and the ready run
toy-birds-dcgan. Both heads get the same recipe, seed and images. The runs on CUB-200-2011 are short ones: 60 epochs of
what `load_images("cub200")` finds. Stopped, it goes on where it was; rows that are there are not made again. Another
machine trains other digits, and measures others.
"""
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from gan_course.core import ImageSet
from gan_course.gradcam import explain
from gan_course.runs import Run, ready_run
from gan_course.settings import TrainConfig
from gan_course.training import train_or_open

from .common import StudyOptions, parsed, read_report, run_command, untrained, write_report

COMMAND = "python -m gan_course.studies.heat"
READY = "toy-birds-dcgan"
RECIPES = {
    "toy-birds": TrainConfig("toy-birds", base_channels=32, epochs=10, lr_g=1e-3, lr_d=1e-3, samples=16),
    "cub200": TrainConfig("cub200", size=32, base_channels=32, epochs=60, samples=16)}
TINY = {"toy-birds": replace(RECIPES["toy-birds"], base_channels=8, epochs=1, limit=64, batch_size=32,
                             precision="float32")}


@dataclass
class HeatOptions(StudyOptions):
    """Where everything is."""

    runs: Path = Path("_runs/cam-where")  # folder of the runs
    jobs: int = 1  # not used: the runs are done one after the other


def noted(run: Run) -> str:
    """What a reader has to know of a run."""
    last = run.history[-1]
    held_out = last["d_acc_real_test"]
    of_held_out = "" if held_out is None else f", {held_out:.0%} of held-out real images"
    return (f"{last['epoch']} epochs of {run.info['data']['n']} images, base {run.config.base_channels}, "
            f"head {run.config.head}; in the last epoch D right on {last['d_acc_real']:.0%} of real, "
            f"{last['d_acc_fake']:.0%} of fake{of_held_out}")


def heat_rows(
    name: str,  # of the network, for the rows
    D: nn.Module,
    data: ImageSet,  # held-out images with masks or boxes
) -> list[dict]:
    """One row for each target, layer and method."""
    rows = []
    for target in ("fake", "real"):
        for row in explain(D, data, target=target, limit=len(data)).rows():
            rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
            rows.append(dict(run=name, target=target) | rounded)
    ratios = [f"{row['size']} {row['method']} {row['ratio']:.2f}" for row in rows if row["target"] == "fake"]
    print(f"{name}: " + ", ".join(ratios), flush=True)
    return rows


def networks(o: HeatOptions, recipes: dict[str, TrainConfig]) -> Iterator[tuple[str, Run, bool]]:
    """Name, run, and whether its D is taken before training; the runs are trained as they are asked for."""
    runs = {}
    for data, config in recipes.items():
        for head in ("fc", "gap"):
            name = f"{data}-{head}"
            runs[name] = train_or_open(replace(config, head=head), o.runs/name, progress=not o.tiny)
            yield name, runs[name], False
    yield READY, ready_run(READY), False
    for name, run in runs.items():
        yield f"{name}-untrained", run, True


def main() -> None:
    """What is missing of the rows."""
    o = parsed(HeatOptions, COMMAND, __doc__)
    recipes, limit = (TINY, 50) if o.tiny else (RECIPES, None)
    file = o.out/"10_gradcam_heat.json"
    report = read_report(file)
    protocol, notes, rows = report.get("protocol", {}), report.get("runs", {}), report.get("rows", [])
    wanted = [f"{data}-{head}{state}" for data in recipes for head in ("fc", "gap") for state in ("", "-untrained")]
    if {*wanted, READY} <= {row["run"] for row in rows}:
        print(f"all {len(rows)} rows are in {file}")
        return
    for name, run, before in networks(o, recipes):
        if any(row["run"] == name for row in rows):
            continue
        data = run.images("test", size=32, limit=limit, progress=False)
        species = len(data.labels.unique()) if data.labels is not None else 0
        known = "masks" if data.masks is not None else "boxes"
        protocol[run.config.data] = f"{len(data)} held-out images 32×32, {species} species, {known}"
        notes[name] = "the same network before training" if before else noted(run)
        rows += heat_rows(name, untrained(run) if before else run.discriminator(), data)
        write_report(file, COMMAND, o, protocol=protocol, runs=notes, rows=rows)
    print(f"{len(rows)} rows in {file}")


if __name__ == "__main__":
    run_command(main)
