"""Score the translations of one or more systems with sacreBLEU.

The references are files (-r) or a test set of sacreBLEU (-t, with -l). A system is a file of detokenised text, the
output of fairseq-generate, or an n-best list of `lskd translate`. NAME=FILE names the system; several files of the same
name are seeds of it. To score a run and write its result record, use `lskd record`.

BLEU's tokeniser depends on the target language (-l), or else on the script of the references; --tokenize overrides it.

The command refuses text that looks tokenised, empty translations, files of different lengths, and references that occur
in the training text (--train).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UserError
from ..files import write_json
from ._options import METRICS, TABLE_STYLES, add_options, add_scoring, filled

EXAMPLES = """examples:
  lskd score runs/mine/word/test/log.txt --references data/multi30k/raw/test.en
  lskd score a=a.en b=b.en --references ref1.en ref2.en --baseline a --paired bs --style latex
  lskd score base=out.1.de base=out.2.de new=new.1.de new=new.2.de -t wmt14 -l en-de --baseline base --out scores.json
  lskd score hyp.en --references test.en --train data/multi30k --metrics bleu chrf comet --source test.de
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "systems",
        nargs="*",
        metavar="[NAME=]FILE",
        help="translations of a system; several files of the same NAME are its seeds",
    )
    add_scoring(parser, METRICS, "all but comet; bleu chrf for languages without spaces")
    add_options(
        parser.add_argument_group("test sets and source"),
        ("-t --test-set", str, "NAME", "test set that sacreBLEU downloads, instead of -r (needs -l): wmt14, ..."),
        ("--source", Path, "FILE", "source text for COMET, one sentence per line"),
    )
    scores = parser.add_argument_group("more options of scores")
    scores.add_argument("--lowercase", action="store_true", help="ignore case")
    add_options(
        scores,
        ("--comet-model", str, "NAME", "name or file of the COMET model (default: Unbabel/wmt22-comet-da)"),
        ("--baseline", str, "NAME", "system that all others are compared with, by a significance test"),
    )
    scores.add_argument(
        "--paired",
        choices=("bs", "ar"),
        help="significance test of --baseline: paired bootstrap (bs) or approximate randomisation (ar) (default: ar)",
    )
    add_options(
        scores,
        ("--samples", int, "N", "number of resamples (bs, default: 1000) or trials (ar, default: 10000)"),
        ("--jobs", int, "N", "number of processes for the significance test", 1),
    )
    files = parser.add_argument_group("files")
    files.add_argument(
        "--format",
        choices=("auto", "text", "fairseq", "json"),
        default="auto",
        help="format of the translations: text, output of fairseq-generate, or n-best JSON lines; auto detects it from "
        "the first line (default: %(default)s)",
    )
    files.add_argument(
        "--remove-bpe",
        choices=("sentencepiece", "subword_nmt"),
        help="join the pieces of SentencePiece or subword-nmt before scoring",
    )
    add_options(
        files,
        ("--out", Path, "FILE", "write all results as JSON to FILE"),
        ("--style", str, "NAME", "style of the table: simple, markdown, latex, json, or another of tabulate", "simple"),
    )


def run(args: argparse.Namespace) -> int:
    import json

    from tabulate import tabulate_formats

    from ..scoring.comparison_table import tables
    from ..scoring.scored_files import Files, score_files

    files = filled(Files, args)
    files.check_options()
    style = TABLE_STYLES.get(args.style, args.style)
    if style != "json" and style not in tabulate_formats:
        raise UserError(f"--style {args.style}: expected markdown, json, or one of {', '.join(tabulate_formats)}")
    result = score_files(files)
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result, indent=2, ensure_ascii=False) if style == "json" else tables(result, style))
    return 0
