"""Average the last checkpoints of a run into one.

The result has no optimizer state, and none of the unused copies of weights that fairseq 0.12.2 saves (encoder layers'
in_proj_weight and others): builds of fairseq that have no such copies load it, too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import UserError
from ..files import write_beside

EXAMPLES = """examples:
  lskd average runs/mine/teacher --last 3             # writes runs/mine/teacher/checkpoint_average.pt
  lskd average a.pt b.pt --out mean.pt
  lskd average checkpoint_best.pt --out student.pt    # one alone, for any build of fairseq
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", type=Path, nargs="+", metavar="PATH", help="a run's folder, or checkpoints")
    parser.add_argument(
        "--last", type=int, default=3, metavar="N", help="of a folder, its last N checkpoints (%(default)s)"
    )
    parser.add_argument(
        "--or-fewer",
        action="store_true",
        help="where a folder has fewer, average those, or take its last, with a warning instead of an error",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: checkpoint_average.pt in the folder")


def run(args: argparse.Namespace) -> int:
    if args.last < 1:
        raise UserError(f"--last {args.last}: expected 1 or more")
    folder = args.inputs[0] if len(args.inputs) == 1 and args.inputs[0].is_dir() else None
    if folder is None and args.out is None:
        raise UserError("--out is missing: name the file to write the average of these checkpoints to")

    import fairseq  # noqa: F401  lets the compat layer allow-list what fairseq's checkpoints hold
    import torch

    from ..teachers.average import average_checkpoints, last_checkpoints

    paths = last_checkpoints(folder, args.last, args.or_fewer) if folder else args.inputs
    out = args.out or args.inputs[0] / "checkpoint_average.pt"
    state = average_checkpoints(paths)
    # To a stream: torch puts the name of a file that it opens itself into the archive, which would
    # differ from call to call, and with it the digest that the next steps remember.
    with write_beside(out) as part, part.open("wb") as stream:
        torch.save(state, stream)
    if folder and len(paths) < args.last:
        print(
            f"warning: {folder} has {len(paths)} of the {args.last} checkpoints that were to be averaged. Models that "
            "are averages of other numbers do not compare well: train longer, or save more often "
            f"(--save-interval-updates N --keep-interval-updates {args.last}).",
            file=sys.stderr,
        )
    print(f"{out} is the mean of {', '.join(path.name for path in paths)}", file=sys.stderr)
    return 0
