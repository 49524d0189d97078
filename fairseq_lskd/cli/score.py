"""Score translations with sacreBLEU: files side by side.

It scores all of them against the references, or against a test set that sacreBLEU knows (-t, -l). A file is detokenised
text, what fairseq-generate printed, or n-best lists of `lskd translate`. NAME=FILE gives a system a name; several files
of one name are its seeds. (`lskd record` scores a run, and writes its record.)

BLEU's tokeniser is that of the target language (-l), or else of the references' script; --tokenize takes another.

It refuses text that looks tokenised, empty translations, numbers of lines that differ, and references that are in the
training text (--train).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UserError
from ..files import write_json
from ._scoring import METRICS, add_scoring

EXAMPLES = """examples:
  lskd score runs/mine/word/test/log.txt --references data/multi30k/raw/test.en
  lskd score a=a.en b=b.en --references ref1.en ref2.en --baseline a --paired bs --style latex
  lskd score base=out.1.de base=out.2.de new=new.1.de new=new.2.de -t wmt14 -l en-de --baseline base --out scores.json
  lskd score hyp.en --references test.en --train data/multi30k --metrics bleu chrf comet --source test.de
"""
STYLES = {"markdown": "github", "latex": "latex_booktabs"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("systems", nargs="*", metavar="[NAME=]FILE", help="translations; of one NAME: its seeds")
    add_scoring(parser, METRICS, "all but comet; bleu chrf of languages without spaces")
    test = parser.add_argument_group("other test sets")
    test.add_argument(
        "-t", "--test-set", metavar="NAME", help="one that sacreBLEU fetches, with -l: wmt14, iwslt17, ..."
    )
    test.add_argument("--source", type=Path, metavar="FILE", help="the source, which COMET reads")
    scores = parser.add_argument_group("more of scores")
    scores.add_argument("--lowercase", action="store_true", help="ignore case")
    scores.add_argument("--comet-model", metavar="NAME", help="name or file (Unbabel/wmt22-comet-da)")
    scores.add_argument("--baseline", metavar="NAME", help="test each difference from this system")
    scores.add_argument(
        "--paired", choices=("bs", "ar"), help="paired bootstrap (bs) or approximate randomisation (ar; the default)"
    )
    scores.add_argument("--samples", type=int, metavar="N", help="resamples (1,000) or trials (10,000)")
    scores.add_argument("--jobs", type=int, default=1, metavar="N", help="processes of the test (%(default)s)")
    files = parser.add_argument_group("files")
    files.add_argument(
        "--format",
        choices=("auto", "text", "fairseq", "json"),
        default="auto",
        help="text, fairseq-generate's output, n-best JSON (auto: by how a file begins)",
    )
    files.add_argument("--remove-bpe", choices=("sentencepiece", "subword_nmt"), help="join pieces first")
    files.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON too")
    files.add_argument(
        "--style", default="simple", metavar="NAME", help="simple, markdown, latex, json, or one of tabulate's"
    )


def run(args: argparse.Namespace) -> int:
    import json
    from dataclasses import fields

    from tabulate import tabulate_formats

    from ..scoring.comparison_table import tables
    from ..scoring.scored_files import Files, score_files

    files = Files(**{each.name: getattr(args, each.name) for each in fields(Files)})
    files.check_options()
    style = STYLES.get(args.style, args.style)
    if style != "json" and style not in tabulate_formats:
        raise UserError(f"--style {args.style}: expected markdown, json, or one of {', '.join(tabulate_formats)}")
    result = score_files(files)
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result, indent=2, ensure_ascii=False) if style == "json" else tables(result, style))
    return 0
