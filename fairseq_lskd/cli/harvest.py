"""Put the output of fairseq-generate into corpus order, one best hypothesis per line.

Of the n-best lists of `lskd translate`, write the text of each sentence's first hypothesis.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UserError
from ..files import write_beside
from ..lines import read_lines
from ..sequences import harvest
from ..sequences.source_text import SourceText

EXAMPLES = """examples:
  lskd harvest generate.txt --source test.de --out test.hyp.en
  lskd translate test.de --model exported/de-en --sentencepiece exported/de-en/sentencepiece.model --out test.jsonl
  lskd harvest test.jsonl --source test.de --out test.hyp.en
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "generated", type=Path, metavar="FILE", help="file with the output of fairseq-generate, or of `lskd translate`"
    )
    parser.add_argument(
        "--source",
        type=Path,
        required=True,
        metavar="FILE",
        help="source text, one sentence per line; refused if FILE translates another text",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="output file, one translation per line")
    parser.add_argument(
        "--pieces",
        type=Path,
        metavar="DIR",
        help="folder of `lskd encode` that the data were binarised from: undoes Moses' tokenisation and byte fallback",
    )


def run(args: argparse.Namespace) -> int:
    from ..data.restore import restorer
    from ..sequences.formats import format_of

    source = SourceText(args.source, list(read_lines(args.source)))
    restore = restorer(args.pieces) if args.pieces else str
    if format_of(args.generated) == "json":
        texts, command, select = _of_lists(args.generated, source), "lskd translate", "lskd select"
    else:
        found = harvest(args.generated, len(source.lines), source=source)
        texts = [hypotheses[0].text if hypotheses else None for hypotheses in found]
        command, select = "fairseq-generate", "lskd select --format fairseq"
    best = [restore(text.strip()) if text is not None else None for text in texts]
    missing = [i for i, text in enumerate(best) if text is None]
    if missing:
        way_out = "Raise"
        if missing[0] + len(missing) == len(source.lines):  # sentences that are too long can be anywhere
            way_out = f"They are the last ones: check that {args.source} is the translated file. If it is, raise"
        raise UserError(
            f"{args.generated}: {len(missing):,} of {len(source.lines):,} sentences have no translation, the first is "
            f"line {missing[0] + 1}. {way_out} --max-source-positions of {command}. For training data, use `{select}`, "
            "which leaves them out"
        )
    with write_beside(args.out) as part, part.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{text}\n" for text in best)
    return 0


def _of_lists(path: Path, source: SourceText) -> list[str | None]:
    """Return the text of each sentence's first hypothesis; "" for an empty sentence, None for one that was too long."""
    from ..sequences.nbest import EMPTY, read_nbest

    records = list(read_nbest(path))
    if len(records) != len(source.lines):
        raise UserError(f"{path} has {len(records):,} sentences, expected {len(source.lines):,}, as --source has lines")
    for record in records:
        source.add(record["id"], record["source"])
    source.check(path)
    return [
        record["hypotheses"][0]["text"] if record["hypotheses"] else "" if record["skipped"] == EMPTY else None
        for record in records
    ]
