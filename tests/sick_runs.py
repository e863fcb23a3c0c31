"""Small trainings, sick and healthy, whose curves test `gan-course diagnose`.

    python tests/sick_runs.py      plays and trains them anew, in about 10 minutes, for tests/data/sick_runs.json

What the rules have to say of each is in test_diagnosis.py. Numbers are kept to three digits.
"""
import json
import tempfile
from pathlib import Path

FILE = Path(__file__).parent / "data/sick_runs.json"
COLUMNS = "d_loss_real d_loss_fake g_loss d_acc_real d_acc_real_test d_acc_fake".split()
BASE = dict(data="toy-birds", limit=500, base_channels=12, batch_size=16, epochs=10, samples=9, precision="float32",
            lr_g=1e-3, lr_d=1e-3, ema=.99, loss="bce")
RUNS = {  # image runs: name → what differs from BASE
    "healthy": {}, "healthy, seed 1": dict(seed=1), "healthy, hinge": dict(loss="hinge"),
    "lr_g tiny": dict(lr_g=1e-5), "lr_d tiny": dict(lr_d=1e-6), "beta1 0.9": dict(beta1=.9),
    "minimax": dict(loss="minimax"), "five steps of D": dict(d_steps=5),
    "60 images": dict(limit=60, epochs=60, flip=False, batch_size=20),
    "sngan, all images alike": dict(model="sngan", loss="hinge"), "rates of 0.05": dict(lr_g=.05, lr_d=.05),
}
SICK = {  # toy games: one change each that makes the game of lesson 02 sick
    "oscillation": dict(beta1=.95), "D too strong": dict(lr_g=5e-5),
    "vanished gradient": dict(loss="minimax", lr_g=5e-4), "learning rate too high": dict(lr_g=.1, lr_d=.1),
    "D too weak": dict(lr_d=1e-5), "collapse": dict(d_steps=5, lr_d=1e-2),
}


def games() -> dict:
    """Toy games of lesson 02: name → settings."""
    sick = {f"{name}, seed {seed}": dict(sick, seed=seed) for name, sick in SICK.items() for seed in range(3)}
    healthy = {f"healthy, seed {seed}": dict(seed=seed) for seed in range(10)}
    others = {f"healthy, {loss}": dict(loss=loss) for loss in ("lsgan", "hinge", "wgan-gp", "rpgan")}
    return sick | healthy | others | {"healthy, moons": dict(data="moons"), "healthy, spiral": dict(data="spiral")}


def packed(rows: list[dict], loss: str) -> dict:
    """The columns of a history, three digits of each number."""
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    short = {name: [None if v is None else float(f"{v:.3g}") for v in values] for name, values in columns.items()}
    return dict(loss=loss) | {name: values for name, values in short.items() if any(v is not None for v in values)}


def histories() -> dict:
    """Kind ("toy" or "run") → name → (rows, loss)."""
    found = {}
    for kind, members in json.loads(FILE.read_text(encoding="utf-8")).items():
        unit, found[kind] = "epoch" if kind == "run" else "step", {}
        for name, columns in members.items():
            loss, keys = columns.pop("loss"), list(columns)
            rows = [dict(zip(keys, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            found[kind][name] = [row | {unit: i + (kind == "run")} for i, row in enumerate(rows)], loss
    return found


def main() -> None:
    """Play, train, write."""
    from gan_course.settings import TrainConfig
    from gan_course.toy import ToyConfig, play
    from gan_course.training import train

    toy, runs = {}, {}
    for name, settings in games().items():
        config = ToyConfig(steps=600, **settings)
        toy[name] = packed(list(play(config, every=25)), config.loss)
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, settings) in enumerate(RUNS.items()):
            config = TrainConfig(**(BASE | settings))
            runs[name] = packed(train(config, f"{folder}/{i}", progress=False).history, config.loss or "")
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(dict(toy=toy, run=runs), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__": main()
