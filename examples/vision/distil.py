#!/usr/bin/env python
"""Measure whether teachers with label smoothing still teach, on images (Table 2 and Fig. 6 of Shen et al. 2021).

The script trains a teacher with and a teacher without label smoothing, and for each a small convolutional student and a
binary student. Students learn only from the teacher's distributions. With scikit-learn's digits it takes minutes on a
CPU. If you run it again, it keeps finished seeds.

  python examples/vision/distil.py --out runs/vision
  python examples/vision/distil.py --out runs/vision-5 --seeds 1 2 3 4 5 --train 100 --label-noise 0.1
  python examples/vision/distil.py --out runs/cifar100 --data cifar100 ~/cifar-100-python --epochs 100
  python examples/vision/distil.py --redraw docs/results/vision       write the page again from rows.json and curves.csv

The output folder gets README.md (text, tables and plot), CSV files of the tables, rows.json, and arrays/ with the
outputs of the teachers, which you can analyse:

  lskd analyze --from-npz runs/vision/arrays/teacher-0-seed1.npz \\
      --from-npz runs/vision/arrays/teacher-0.1-seed1.npz --out runs/vision/analysis
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fairseq_lskd.errors import UserError, exit_on_user_error


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="DIR", help="output folder")
    where.add_argument(
        "--redraw", type=Path, metavar="DIR", help="write the page of an output folder again, without training"
    )
    parser.add_argument(
        "--data", nargs="+", default=["digits"], metavar="NAME", help="data: digits, or cifar100 DIR (default: digits)"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="random seeds (default: 1 2 3)"
    )
    parser.add_argument(
        "--label-smoothing",
        type=float,
        default=0.1,
        metavar="A",
        help="label smoothing of the smoothed teacher (default: %(default)s)",
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="distillation temperature (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, default=120, metavar="N", help="epochs of every network (default: %(default)s)"
    )
    parser.add_argument(
        "--train", type=int, default=200, metavar="N", help="number of training digits (default: %(default)s)"
    )
    parser.add_argument(
        "--label-noise",
        type=float,
        default=0.0,
        metavar="P",
        help="share of training digits with wrong labels (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    with exit_on_user_error("distil.py"):
        if args.redraw:
            redraw(args.redraw)
            return
        run(args, ["python", "examples/vision/distil.py", *(sys.argv[1:] if argv is None else argv)])


def check(args: argparse.Namespace) -> None:
    """Check the options; `UserError` with all problems."""
    problems = []
    if args.data != ["digits"] and (len(args.data) != 2 or args.data[0] != "cifar100"):
        problems.append(f"--data {' '.join(args.data)}: expected digits, or cifar100 and its folder")
    if not 0 < args.label_smoothing < 1:
        problems.append(f"--label-smoothing {args.label_smoothing}: expected a number between 0 and 1")
    if not 0 < args.temperature < float("inf"):
        problems.append(f"--temperature {args.temperature}: expected a number above 0")
    if not 0 <= args.label_noise < 1:
        problems.append(f"--label-noise {args.label_noise}: expected a share in [0, 1)")
    if args.epochs < 1:
        problems.append(f"--epochs {args.epochs}: expected at least 1")
    if len(set(args.seeds)) < len(args.seeds):
        problems.append(f"--seeds {' '.join(map(str, args.seeds))}: found a seed twice, expected different seeds")
    if problems:
        raise UserError("\n  ".join(problems))


def run(args: argparse.Namespace, command: Sequence[str]) -> None:
    check(args)
    import torch
    from images import cifar100, digits
    from lessons import CIFAR_SIZES, Sizes, teach
    from summary import section
    from training import Schedule

    from fairseq_lskd.analysis.saving import save
    from fairseq_lskd.files import write_json

    real = args.data[0] == "cifar100"
    given = cifar100(Path(args.data[1])) if real else None
    sizes = CIFAR_SIZES if real else Sizes()
    schedule = Schedule(args.epochs)
    if real:
        schedule = replace(schedule, batch=128, lr=1e-3, shift=4, flip=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    smoothings = (0.0, args.label_smoothing)
    settings = {"data": args.data[0], "train": None if real else args.train, "label_noise": args.label_noise}
    settings |= {"label_smoothing": args.label_smoothing, "temperature": args.temperature}
    settings |= {"sizes": asdict(sizes), "schedule": asdict(schedule)}
    settings = json.loads(json.dumps(settings))
    made: dict[int, list[dict[str, Any]]] = {
        seed: kept(args.out / f"seed-{seed}.json", settings) for seed in args.seeds
    }
    for seed in args.seeds:
        if not made[seed]:
            start = time.monotonic()
            found = given or digits(args.train, args.label_noise, seed)
            made[seed] = teach(found, sizes, schedule, smoothings, args.temperature, seed, device, args.out / "arrays")
            seconds = round(time.monotonic() - start, 1)
            write_json(args.out / f"seed-{seed}.json", {"settings": settings, "seconds": seconds, "rows": made[seed]})
    rows = [row for seed in args.seeds for row in made[seed]]
    record = {"command": shlex.join(command), "settings": settings, "seeds": args.seeds, "device": device.type}
    record |= {"versions": {"python": platform.python_version(), "torch": torch.__version__}}
    record["rows"] = [{name: value for name, value in row.items() if name != "epochs"} for row in rows]
    write_json(args.out / "rows.json", record)
    page = save(section(rows, smoothings, about(settings)), args.out)
    print(page.read_text(encoding="utf-8"))
    print(f"wrote {page}, and the outputs of the teachers to {args.out / 'arrays'}", file=sys.stderr)


def about(settings: dict[str, Any]) -> str:
    """Return sentences about the data and the training."""
    train, noise = settings["train"], settings["label_noise"]
    if settings["data"] == "cifar100":
        data = "The data are CIFAR-100, with 50,000 training images and 10,000 validation images."
    else:
        wrong = f" ({noise:.0%} with a wrong label)" if noise else ""
        data = (
            f"The data are scikit-learn's digits (8 x 8 pixels), with only {train} training images{wrong}. The other "
            f"{1797 - train:,} images are for validation. Each seed draws another split. With all images for training, "
            "even these small networks make almost no errors, so that they could not differ."
        )
    return f"{data} Students learn only from the teacher (lambda = 0), at T = {settings['temperature']:g}."


def redraw(folder: Path) -> None:
    """Write the page, tables and plot of a folder again from its rows.json and curves.csv."""
    from summary import EPOCH, section

    from fairseq_lskd.analysis.saving import save

    try:
        record = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        with (folder / "curves.csv").open(encoding="utf-8", newline="") as stream:
            epochs = list(csv.DictReader(stream))
        rows, settings = record["rows"], record["settings"]
        for row in rows:
            mine = [e for e in epochs if (e["system"], e["seed"]) == (row["system"], str(row["seed"]))]
            row["epochs"] = [{name: float(e[at]) if e[at] else None for name, at in EPOCH.items()} for e in mine]
        made = section(rows, (0.0, settings["label_smoothing"]), about(settings))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"--redraw {folder}: expected an output folder with rows.json and curves.csv ({error!r})"
        ) from error
    print(save(made, folder))


def kept(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the rows of a finished seed; [] if it is not finished.

    Raises:
        UserError: if it was run with different settings.
    """
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    if changed := [name for name in settings if found["settings"].get(name) != settings[name]]:
        raise UserError(f"{path} has different settings ({', '.join(changed)}): give another --out, or delete the file")
    return found["rows"]


if __name__ == "__main__":
    main()
