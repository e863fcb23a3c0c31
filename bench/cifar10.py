"""FIDs of the CIFAR-10 runs as they lie in the package, in float16: the numbers of the case study, in nbs/data/cifar10_fid.json.

    python bench/cifar10.py                              10,000 images of each generator of cifar10-dcgan and cifar10-sagan
    python bench/cifar10.py --n 50000                    50,000 images of the best generator of each
    python bench/cifar10.py --plain _runs/cifar10-dcgan  10,000 images of the generators themselves, not of their averages,
                                                         of the run that `gan-course train --recipe cifar10-dcgan` made

Against the 50,000 training images. 10,000 images take about nine minutes on two cores, the training images half an hour once.
What stands in the file already is not measured again: remove its line to measure it anew.
"""
import argparse
import json
from pathlib import Path

from gan_course import open_run, ready_run
from gan_course.core import write_beside
from gan_course.fid import evaluate
from gan_course.train import Run

OUT = Path(__file__).resolve().parents[1]/"nbs/data/cifar10_fid.json"
READY = ("cifar10-dcgan", "cifar10-sagan")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="generated images; above 10,000 of the best generator only")
    parser.add_argument("--plain", type=Path, help="a run that is not packed")
    parser.add_argument("--only", nargs="+", default=READY, help="names of ready runs")
    parser.add_argument("--out", type=Path, default=OUT)
    o = parser.parse_args()
    if o.plain:
        run = open_run(o.plain)
        jobs = [(f"{run.path.name} plain", run.generator(e, ema=False), e) for e in run.kept if e % 10 == 0]
    else: jobs = [(name, ready_run(name), e) for name in o.only for e in (ready_run(name).kept if o.n <= 10_000 else [ready_run(name).best_epoch])]
    rows = json.loads(o.out.read_text()) if o.out.exists() else []
    for name, what, epoch in jobs:
        if any((r["run"], r["epoch"], r["n_fake"]) == (name, epoch, o.n) for r in rows): continue
        result = evaluate(what, "cifar10", n_fake=o.n, weights=epoch if isinstance(what, Run) else None)
        rows.append(dict(run=name, epoch=epoch, n_fake=o.n, n_real=result.protocol["n_real"], **{k: round(v, 6) for k, v in result.values.items()}))
        rows.sort(key=lambda r: (r["run"], r["n_fake"], r["epoch"]))
        with write_beside(o.out) as part: part.write_text("[\n" + ",\n".join(" " + json.dumps(r) for r in rows) + "\n]\n")
        print(f"{name}, epoch {epoch}\n{result}", flush=True)
