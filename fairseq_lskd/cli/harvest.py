"""Put fairseq-generate's output back into corpus order: one best hypothesis a line."""

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
    parser.add_argument("generated", type=Path, metavar="FILE", help="what fairseq-generate printed")
    parser.add_argument("--source", type=Path, required=True, metavar="FILE", help="the source, one sentence a line")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the translations, one a line")
    parser.add_argument(
        "--pieces",
        type=Path,
        metavar="DIR",
        help="the folder of `lskd encode` that the data is from: undoes Moses' tokenisation and byte fallback",
    )


def run(args: argparse.Namespace) -> int:
    from ..data.restore import restorer

    source = list(read_lines(args.source))
    restore = restorer(args.pieces) if args.pieces else str
    best = [restore(found[0].text.strip()) if found else None for found in harvest(args.generated, len(source))]
    missing = [i for i, text in enumerate(best) if text is None]
    if missing:
        way = "Raise"
        if missing[0] + len(missing) == len(source):  # sentences that are too long stand anywhere
            way = f"They are the last: is {args.source} the file that was translated? If it is, raise"
        raise UserError(
            f"{args.generated}: {len(missing):,} of {len(source):,} sentences were not translated, the first is "
            f"line {missing[0] + 1}. {way} --max-source-positions of fairseq-generate; for training data, `lskd select "
            "--format fairseq` goes without them"
        )
    with write_beside(args.out) as part, part.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{text}\n" for text in best)
    return 0
