"""Where a discriminator looks: heat inside the bird, by data, head, layer, method and target. Writes nbs/data/cam_where.json for lesson 08.

    python bench/cam_where.py [--runs _runs/cam-where] [--out nbs/data/cam_where.json]

Trains four small DCGANs if --runs does not hold them yet (toy birds and CUB-200-2011 at 32 pixels, each with both heads; about
seven minutes of processor time), then measures on held-out real images: these four, the same networks before training, and the
ready run toy-birds-dcgan. Both heads get the same recipe, seed and images. The runs on CUB-200-2011 are short ones: 60 epochs
of what load_images("cub200") finds. Stopped, it goes on where it was. Another machine trains other digits, and measures others.
"""
import argparse
import json
from dataclasses import replace
from pathlib import Path

from gan_course.data import load_images
from gan_course.dcgan import build_model
from gan_course.gradcam import explain
from gan_course.train import TrainConfig, ready_run, train_or_open

RECIPES = {
    "toy-birds": TrainConfig("toy-birds", base_channels=32, epochs=10, lr_g=1e-3, lr_d=1e-3, samples=16),
    "cub200": TrainConfig("cub200", size=32, base_channels=32, epochs=60, samples=16),
}


def untrained(run):
    return build_model(run.config.model, run.config.seed, **{k: v for k, v in run.info["model"].items() if k != "name"})[1].eval()


def about(run):
    last = run.history[-1]
    return (f"{last['epoch']} epochs of {run.info['data']['n']} images, base {run.config.base_channels}, head {run.config.head}; in the last epoch "
            f"D right on {last['d_acc_real']:.0%} of real, {last['d_acc_fake']:.0%} of fake" +
            (f", {last['d_acc_real_test']:.0%} of held-out real images" if last["d_acc_real_test"] is not None else ""))


def measure(name, model, data):
    """One row for each target, layer and method."""
    rows = []
    for target in ("fake", "real"):
        for row in explain(model, data, target=target, limit=len(data)).rows():
            rows.append(dict(run=name, target=target) | {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()})
    print(f"{name}: " + ", ".join(f"{r['size']} {r['method']} {r['ratio']:.2f}" for r in rows if r["target"] == "fake"), flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("_runs/cam-where"), help="where the trained runs lie")
    parser.add_argument("--out", type=Path, default=Path("nbs/data/cam_where.json"))
    args = parser.parse_args()
    runs = {f"{data}-{head}": train_or_open(replace(RECIPES[data], head=head), args.runs / f"{data}-{head}") for data in RECIPES for head in ("fc", "gap")}
    runs["toy-birds-dcgan"] = ready_run("toy-birds-dcgan")
    held_out = {data: load_images(data, "test", size=32) for data in RECIPES}
    notes, rows = {}, []
    for name, run in runs.items():
        notes[name], data = about(run), held_out[run.config.data]
        rows += measure(name, run.discriminator(), data)
    for name in [n for n in runs if n != "toy-birds-dcgan"]:
        notes[f"{name}-untrained"] = "the same network before training"
        rows += measure(f"{name}-untrained", untrained(runs[name]), held_out[runs[name].config.data])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    protocol = {data: f"{len(x)} held-out images {x.img_size}×{x.img_size}, {len(x.labels.unique())} species, "
                      f"{'masks' if x.masks is not None else 'boxes'}" for data, x in held_out.items()}
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    args.out.write_text(f'{{"protocol": {json.dumps(protocol, ensure_ascii=False)},\n"runs": {json.dumps(notes, indent=1, ensure_ascii=False)},\n'
                        f'"rows": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(rows)} rows in {args.out}")
