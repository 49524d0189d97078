"""Build a sequence-level training set from a teacher's n-best translations.

NBEST is the output of `lskd translate`, or another system's translations (--format). The folder --out gets train.SRC
and train.TGT; train.weights.npz, with a weight per line; report.md and report.json, with counts and examples of what
was dropped; select.json, the manifest; and, with --student-data or --srcdict, data-bin for fairseq-train.

The weights of each source sentence sum to 1. docs/select.md explains the strategies.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UserError
from ._options import add_options, filled

EXAMPLES = """examples:
  lskd select train.nbest.jsonl.gz -s de -t en --student-data data/mine/bin --out data/mine/1-best
  lskd select train.nbest.jsonl.gz -s de -t en --strategy nearest --references data/mine/raw/train.en \\
      --student-data data/mine/bin --out data/mine/nearest
  lskd select train.nbest.jsonl.gz -s de -t en --strategy n-best --score-temperature 0.05 --filter-length-ratio 3 \\
      --filter-copies 0.5 --filter-repeats 4,2 --student-data data/mine/bin --out data/mine/n-best
  lskd select beam.jsonl samples.jsonl -s de -t en --strategy mbr --student-data data/mine/bin --out data/mine/mbr
  lskd select mono.jsonl -s de -t en --add data/mine/nearest --student-data data/mine/bin --out data/mine/mixed
  lskd select big-teacher.en --format text --source train.de -s de -t en --sentencepiece-source my/spm.model \\
      --sentencepiece-target my/spm.model --student-data data/mine/bin --out data/mine/foreign
then train with
  fairseq-train data/mine/1-best/data-bin --user-dir fairseq_lskd --criterion seq_kd \\
      --sequence-weights data/mine/1-best/train.weights.npz ...
"""


def _pair(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, Any]]:
    """Return a parser of `A,B`."""

    def read(text: str) -> tuple[Any, Any]:
        first, comma, second = text.partition(",")
        try:
            if comma and first and second:
                return kind(first), kind(second)
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"expected two values separated by a comma, found {text!r}")

    return read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..sequences.candidates import FORMATS
    from ..sequences.filter_options import PRESETS
    from ..sequences.mbr import EVIDENCE
    from ..sequences.pieces import SCHEMES
    from ..sequences.select import METRICS, STRATEGIES

    parser.add_argument(
        "translations",
        type=Path,
        nargs="+",
        metavar="NBEST",
        help="the teacher's translations, plain or .gz; hypotheses of several lists of the same sentences are joined",
    )
    parser.add_argument("-s", "--source-lang", required=True, metavar="LANG", help="source language")
    parser.add_argument("-t", "--target-lang", required=True, metavar="LANG", help="target language")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    add_options(
        parser,
        (
            "--references",
            Path,
            "FILE",
            "references, one per source sentence: DATA/pieces/train.LANG, or text if they are only compared",
        ),
        ("--workers", int, "N", "worker processes", 1),
    )

    group = parser.add_argument_group("translations of other systems")
    group.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="json: the output of `lskd translate`; text: --nbest lines per sentence; moses: ID ||| TEXT ||| FEATURES "
        "||| SCORE; fairseq: the output of fairseq-generate (default: json)",
    )
    group.add_argument(
        "--source",
        type=Path,
        metavar="FILE",
        help="source sentences, one per line; with --format json, which contains them, only checked against NBEST",
    )
    group.add_argument(
        "--allow-shifted",
        action="store_true",
        default=None,
        help="warn instead of failing if translations or references seem to be shifted against the source lines",
    )
    scores = (
        "scores to use instead of those in NBEST, with any --format: one number per hypothesis and line, or one JSON "
        "array per sentence"
    )
    add_options(
        group,
        ("--nbest", int, "N", "lines per sentence with --format text (default: 1)"),
        ("--scores", Path, "FILE", scores),
    )
    group.add_argument(
        "--scores-lowest",
        action="store_true",
        default=None,
        help="in --scores, lower is better (MetricX); by default, higher is better",
    )
    group.add_argument(
        "--remove-bpe",
        choices=SCHEMES,
        default=SCHEMES[0],
        help="subword scheme of the source, the references and --format text (default: %(default)s)",
    )

    group = parser.add_argument_group("what the student learns from")
    group.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default=STRATEGIES[0],
        help="1-best: the hypothesis with the best score; nearest: the one most similar to the reference; n-best: all, "
        "weighted by softmax(score / T); mbr: the one most similar to the others (minimum Bayes risk); mbr-n: the N "
        "most similar (default: %(default)s)",
    )
    group.add_argument(
        "--metric",
        choices=METRICS,
        help="similarity metric of nearest (default: sentence-bleu), and of mbr and mbr-n (default: chrf)",
    )
    group.add_argument(
        "--mbr-best", type=int, metavar="N", help="hypotheses per sentence with mbr-n, equally weighted (default: 5)"
    )
    group.add_argument(
        "--mbr-evidence",
        choices=EVIDENCE,
        help="weights of the hypotheses in the expected utility of mbr. counts: how often each occurs, for samples; "
        "scores: softmax(score / T), for a beam's list (default: counts)",
    )
    group.add_argument(
        "--mbr-aggregate",
        action="store_true",
        default=None,
        help="compare each hypothesis with the mean n-gram counts of all: faster, nearly the same choice",
    )
    utilities = (
        "utilities for mbr and mbr-n from another metric, such as COMET, instead of --metric: per sentence, a JSON "
        "array with a row per hypothesis, of its utilities against each hypothesis as the reference"
    )
    temperature = (
        "temperature T of n-best and of --mbr-evidence scores. Scores are per token and close together, so 1 weights "
        "the hypotheses nearly alike; 0.05 prefers the better ones"
    )
    add_options(
        group,
        ("--utilities", Path, "FILE", utilities),
        ("--score-temperature", float, "T", temperature, 1.0),
        ("--max-hypotheses", int, "N", "use only the N best hypotheses that pass the filters"),
    )
    group.add_argument(
        "--add-references",
        type=float,
        default=0.0,
        metavar="R",
        help="add each source once more with its reference, which gets the share R of the source's weight; use 0.5 to "
        "set the share at training time with --reference-weight of seq_kd",
    )
    group.add_argument(
        "--replace-by-references",
        type=float,
        default=0.0,
        metavar="R",
        help="use the reference instead of the translations for a random share R of the sources",
    )
    group.add_argument(
        "--add",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="append the pairs and weights of these outputs of `lskd select`, for example to join monolingual text "
        "and bitext",
    )
    group.add_argument(
        "--shares",
        type=float,
        nargs="+",
        metavar="R",
        help="shares of the training for NBEST and each folder of --add, which sum to 1; their weights are scaled "
        "(default: each keeps its weights)",
    )
    group.add_argument(
        "--share-by",
        choices=("sentences", "tokens"),
        help="unit of --shares: source sentences or target tokens (default: sentences)",
    )
    tag = "write this piece before each source sentence of NBEST, for example to mark translations of monolingual text"
    add_options(
        group,
        ("--tag", str, "TOKEN", tag),
        ("--seed", int, "S", "random seed of --replace-by-references", 1),
    )
    group.add_argument(
        "--on-empty",
        choices=("drop", "reference"),
        default="drop",
        help="for a source that has no translation, or none that passes the filters: drop it, or use its reference "
        "(default: %(default)s)",
    )

    group = parser.add_argument_group("filters, applied to each hypothesis")
    group.add_argument(
        "--preset",
        choices=PRESETS,
        help="clean: turn on the filters unk, short, numbers, brackets, clauses, repeats, copies, script and "
        "usual-length, at limits that few good translations reach; flags that you give override it",
    )
    repeats = (
        "drop if a word N-gram occurs at least COUNT more times than any N-gram of the source, or if a few letters "
        "stand six times in a row, which they do not in the source"
    )
    languages = "drop if py3langid is sure that either side is in another language than given, for example de,en"
    add_options(
        group,
        ("--filter-length-ratio", float, "R", "drop if one side has more than R times the characters of the other"),
        ("--filter-copies", float, "P", "drop if at least a share P of its words occurs in the source"),
        ("--filter-repeats", _pair(int), "N,COUNT", repeats),
        ("--filter-language", _pair(str), "SRC,TGT", languages),
    )
    for name, what in (
        ("numbers", "drop if a number of two or more digits occurs on one side only"),
        ("brackets", "drop if it has unbalanced brackets or quotes and the source does not"),
        ("clauses", "drop if it repeats a clause more often than the source does"),
        ("short", "drop if it has no letter or digit, or only one where the source has ten or more"),
    ):
        # The manifest does not record None, so folders written before these flags existed stay up to date.
        group.add_argument(f"--filter-{name}", action="store_true", default=None, help=what)
    script = "drop if less than a share P of its letters is in the script that most translations use"
    length = "drop if its length is more than Z standard deviations from what the source's length predicts"
    lowest = "drop the share Q of the sources whose best hypothesis has the lowest scores"
    add_options(
        group,
        ("--filter-script", float, "P", script),
        ("--filter-usual-length", float, "Z", length),
        ("--filter-score", float, "X", "drop if its score is worse than X"),
        ("--filter-score-quantile", float, "Q", lowest),
    )
    group.add_argument(
        "--filter-unk",
        action="store_true",
        default=None,
        help="drop if it contains an unknown word: <unk>, <<unk>>, \u2047, [UNK] or &lt;unk&gt;",
    )
    for name, limit, what in (
        ("worst", "SHARE", "drop the SHARE of hypotheses with the lowest scores in FILE, which `lskd rescore` writes"),
        ("below", "X", "drop if its score in FILE is below X"),
    ):
        group.add_argument(
            f"--filter-{name}",
            nargs=2,
            action="append",
            default=[],
            metavar=("FILE", limit),
            help=f"{what}; the hypothesis is still chosen by its own score (repeatable)",
        )
    group.add_argument("--dedup", action="store_true", help="drop if a better hypothesis has the same text")

    source = "encode the source with this SentencePiece model (default: leave it as it is)"
    target = "encode the translations with this SentencePiece model (default: keep the teacher's pieces)"
    data = "write data-bin with the dictionaries of this binarised data, and copy its validation and test sets"
    valid = "add the teacher's translations of the validation sources, a list of `lskd translate`, as the set valid1"
    add_options(
        parser.add_argument_group("the student's data format"),
        ("--sentencepiece-source", Path, "MODEL", source),
        ("--sentencepiece-target", Path, "MODEL", target),
        ("--student-data", Path, "DIR", data),
        ("--srcdict", Path, "FILE", "write data-bin with this source dictionary; needs --tgtdict"),
        ("--tgtdict", Path, "FILE", "target dictionary to use with --srcdict"),
        ("--validpref", str, "PREFIX", "with --srcdict, binarise PREFIX.SRC and PREFIX.TGT as the validation set"),
        ("--valid-translations", Path, "FILE", valid),
    )


def run(args: argparse.Namespace) -> int:
    import sys

    from ..sequences.filter_options import FilterOptions
    from ..sequences.manifest import BINARISED, WEIGHTS
    from ..sequences.selection import Request, build_training_set
    from ..user_dir import PACKAGE

    first, *more = args.translations
    own: dict[str, Any] = {
        "translations": first,
        "more": tuple(more),
        "filters": filled(FilterOptions, args),
        "add": tuple(args.add),
        "shares": tuple(args.shares) if args.shares else None,
        "filter_worst": _limits("--filter-worst", args.filter_worst),
        "filter_below": _limits("--filter-below", args.filter_below),
    }
    report = build_training_set(filled(Request, args, **own))
    if report is None:
        print(f"{args.out}: up to date", file=sys.stderr)
    else:
        print(report.tables())
        if args.student_data or args.srcdict:
            data, weights = args.out / BINARISED, args.out / WEIGHTS
            words = ["--user-dir", PACKAGE, "--criterion", "seq_kd", "--sequence-weights", weights]
            print("To train, add the options of the model and of its training (--arch, --optimizer, --lr, ...) to:")
            print(shlex.join(map(str, ["fairseq-train", data, *words])))
    return 0


def _limits(flag: str, given: list[list[str]]) -> tuple[tuple[Path, float], ...]:
    """Read the values of a flag that takes a file and a number, and may be repeated."""
    found = []
    for path, limit in given:
        try:
            found.append((Path(path), float(limit)))
        except ValueError:
            raise UserError(f"{flag} {path} {limit}: expected a number after the file") from None
    return tuple(found)
