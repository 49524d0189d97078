"""Binarise a bitext that `lskd encode` wrote, into the data folder that fairseq-train reads.

The files equal those of fairseq-preprocess with the same dictionaries, byte for byte, and are written several times as
fast.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._options import add_out, add_workers

EXAMPLES = """examples:
  lskd encode --raw data/multi30k/raw --out data/multi30k/pieces -s de -t en --vocab-size 4000
  lskd binarise data/multi30k/pieces --out data/multi30k/bin
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pieces", type=Path, metavar="DIR", help="folder that `lskd encode` wrote")
    add_out(parser)
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    from ..data.binarise import MANIFEST, binarise
    from ..reading import COUNT, read_json

    new = binarise(args.pieces, args.out, args.workers)
    print(f"{args.out}: {'written' if new else 'up to date'}")
    counted = {"lines": COUNT, "tokens": COUNT, "unknown": COUNT}
    record = read_json(args.out / MANIFEST, {"counts": {str: counted}}, "a manifest of `lskd binarise`")
    for name, facts in record["counts"].items():
        print(
            f"{name:<12} {facts['lines']:>10,} sentences {facts['tokens']:>12,} tokens {facts['unknown']:>8,} unknown"
        )
    return 0
