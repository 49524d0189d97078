"""Binarise what `lskd encode` wrote: the data folder that fairseq-train reads.

The files are those of fairseq-preprocess with the same dictionaries, to the byte, written several times as fast.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLES = """examples:
  lskd encode --raw data/multi30k/raw --out data/multi30k/pieces -s de -t en --vocab-size 4000
  lskd binarise data/multi30k/pieces --out data/multi30k/bin
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pieces", type=Path, metavar="DIR", help="the folder that `lskd encode` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes; the result is the same (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from ..data.binarise import MANIFEST, binarise
    from ..reading import COUNT, read_json

    new = binarise(args.pieces, args.out, args.workers)
    print(f"{args.out}: {'written' if new else 'up to date'}")
    counted = {"lines": COUNT, "tokens": COUNT, "unknown": COUNT}
    record = read_json(args.out / MANIFEST, {"counts": {str: counted}}, "what `lskd binarise` wrote")
    for name, facts in record["counts"].items():
        print(
            f"{name:<12} {facts['lines']:>10,} sentences {facts['tokens']:>12,} tokens {facts['unknown']:>8,} unknown"
        )
    return 0
