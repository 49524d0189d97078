"""Put the output of fairseq-generate into corpus order, one best hypothesis per line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UserError
from ..files import write_beside
from ..lines import read_lines
from ..sequences import harvest

EXAMPLES = """examples:
  lskd harvest generate.txt --source test.de --out test.hyp.en
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("generated", type=Path, metavar="FILE", help="file with the output of fairseq-generate")
    parser.add_argument("--source", type=Path, required=True, metavar="FILE", help="source text, one sentence per line")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="output file, one translation per line")
    parser.add_argument(
        "--pieces",
        type=Path,
        metavar="DIR",
        help="folder of `lskd encode` that the data were binarised from: undoes Moses' tokenisation and byte fallback",
    )


def run(args: argparse.Namespace) -> int:
    from ..data.restore import restorer

    source = list(read_lines(args.source))
    restore = restorer(args.pieces) if args.pieces else str
    best = [restore(found[0].text.strip()) if found else None for found in harvest(args.generated, len(source))]
    missing = [i for i, text in enumerate(best) if text is None]
    if missing:
        way_out = "Raise"
        if missing[0] + len(missing) == len(source):  # sentences that are too long can be anywhere
            way_out = f"They are the last ones: check that {args.source} is the translated file. If it is, raise"
        raise UserError(
            f"{args.generated}: {len(missing):,} of {len(source):,} sentences have no translation, the first is line "
            f"{missing[0] + 1}. {way_out} --max-source-positions of fairseq-generate. For training data, use `lskd "
            "select --format fairseq`, which leaves them out"
        )
    with write_beside(args.out) as part, part.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{text}\n" for text in best)
    return 0
