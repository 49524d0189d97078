"""Average the weights of the last checkpoints of a training.

The result contains neither the optimizer state nor the unused copies of weights that fairseq 0.12.2 saves
(in_proj_weight and others in encoder layers), so that builds of fairseq without these copies can load it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import UserError
from ..files import write_beside

EXAMPLES = """examples:
  lskd average runs/mine/teacher --last 3
  lskd average a.pt b.pt --out mean.pt
a single checkpoint, for any build of fairseq:
  lskd average checkpoint_best.pt --out student.pt
"""


LAST = 3  #: number of checkpoints of a folder, unless --last says another


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", type=Path, nargs="+", metavar="PATH", help="folder of a training, or one or more checkpoints"
    )
    parser.add_argument(
        "--last",
        type=int,
        metavar="N",
        help=f"number of checkpoints to average, the last N of the folder (default: {LAST})",
    )
    parser.add_argument(
        "--or-fewer",
        action="store_true",
        help="if the folder has fewer than N numbered checkpoints, warn and average those, or take checkpoint_last.pt",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="output file (default: checkpoint_average.pt in the folder)"
    )


def run(args: argparse.Namespace) -> int:
    folder = args.inputs[0] if len(args.inputs) == 1 and args.inputs[0].is_dir() else None
    if folder is None:
        _check_files(args)
    if folder is None and args.out is None:
        raise UserError("--out is missing: give the file to write the average of these checkpoints to")

    import fairseq  # noqa: F401  the compat layer then allows torch to load the classes in fairseq's checkpoints
    import torch

    from ..teachers.average import average_checkpoints, last_checkpoints

    last = LAST if args.last is None else args.last
    paths = last_checkpoints(folder, last, args.or_fewer) if folder else args.inputs
    out = args.out or args.inputs[0] / "checkpoint_average.pt"
    state = average_checkpoints(paths)
    # Saved to a stream, because torch writes the name of a file that it opens itself into the archive. That name, and
    # with it the digest, would differ from call to call.
    with write_beside(out) as part, part.open("wb") as stream:
        torch.save(state, stream)
    if folder and len(paths) < last:
        print(
            f"warning: {folder} has only {len(paths)} of {last} checkpoints. Averages of different numbers "
            "of checkpoints are not comparable. Train longer, or save more often "
            f"(--save-interval-updates N --keep-interval-updates {last}).",
            file=sys.stderr,
        )
    print(f"{out} is the mean of {', '.join(path.name for path in paths)}", file=sys.stderr)
    return 0


def _check_files(args: argparse.Namespace) -> None:
    """Refuse the options that choose among the checkpoints of a folder, if there is no folder to choose in."""
    given = [f"--last {args.last}"] if args.last is not None else []
    given += ["--or-fewer"] if args.or_fewer else []
    if not given:
        return
    options, first = " ".join(given), args.inputs[0]
    if len(args.inputs) == 1 and not first.exists():
        raise UserError(f"{first}: no such folder. {options} needs the folder of a training")
    raise UserError(
        f"{options} chooses among the checkpoints of one folder, but you gave {' '.join(map(str, args.inputs))}. Leave "
        f"{options} out to average these files, or give only the folder"
    )
