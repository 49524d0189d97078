"""Score n-best lists or a bitext with a model, by forced decoding.

NBEST is a list that `lskd translate` wrote, or translations of other software, or a bitext (--format). The output has
one JSON array per source sentence, with a score for each of its hypotheses, which `lskd select` reads with --scores,
--filter-worst and --filter-below. A score is the model's log-probability per token, including the end-of-sentence
token; higher is better. If the command is killed, run it again to continue. docs/rescore.md has the details.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UserError
from ._options import add_engine, add_model, add_options, filled

EXAMPLES = """examples:
  lskd rescore nbest.jsonl --teacher-path other.pt --out scores.jsonl
cross-entropy filter, which scores each source given its translation, with a model of the other direction:
  lskd rescore nbest.jsonl.gz --backward --teacher-path runs/en-de/checkpoint_average.pt --out backward.jsonl
  lskd select nbest.jsonl.gz -s de -t en --filter-worst backward.jsonl 0.05 --student-data data/mine/bin --out data/kept
references, scored by the teacher:
  lskd rescore pieces/train.en --format text --source pieces/train.de --teacher-path a.pt --out references.jsonl
an ensemble with other pieces than the list:
  lskd rescore nbest.jsonl --teacher-path a.pt:b.pt --sentencepiece spm.model --out ensemble.jsonl
hallucinations, which score as well with another source sentence:
  lskd rescore nbest.jsonl --contrast --teacher-path a.pt --out contrast.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd rescore`."""
    from ..sequences.candidates import FORMATS
    from ..sequences.pieces import SCHEMES

    parser.add_argument(
        "pairs",
        type=Path,
        nargs="+",
        metavar="NBEST",
        help="hypotheses to score, plain or .gz; several lists of the same sentences are joined, as `lskd select` does",
    )
    add_options(parser, ("--out", Path, "FILE", "output file of scores (gzipped if it ends in .gz)"))
    score = parser.add_argument_group("score")
    score.add_argument(
        "--backward",
        action="store_true",
        help="score each source given its hypothesis, with a model of the other direction",
    )
    score.add_argument(
        "--contrast",
        action="store_true",
        help="subtract the score of the hypothesis given another source sentence of the list. A difference near 0 or "
        "below means that the hypothesis does not depend on its source",
    )
    score.add_argument(
        "--sum", action="store_true", help="sum the log-probabilities of a sentence, instead of the mean per token"
    )

    pairs = parser.add_argument_group("hypotheses that lskd translate did not write, and bitexts")
    pairs.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="format of NBEST. json: as `lskd translate` writes it; text: one target per line, or --nbest lines per "
        "sentence; moses: ID ||| TEXT ||| FEATURES ||| SCORE; fairseq: output of fairseq-generate (default: json)",
    )
    add_options(
        pairs,
        ("--source", Path, "FILE", "source sentences, one per line"),
        ("--nbest", int, "N", "number of lines per sentence with --format text", 1),
    )
    pairs.add_argument(
        "--remove-bpe",
        choices=SCHEMES,
        default=SCHEMES[0],
        help="kind of pieces in NBEST and --source, unless they are text (default: %(default)s)",
    )

    add_model(parser, "NBEST")
    add_engine(parser.add_argument_group("engine"), "score", ("float32", "float16", "int8"))


def run(args: argparse.Namespace) -> int:
    from ..sequences.rescoring import Request, rescore

    if args.out is None:
        raise UserError("--out is missing: give the file to write")
    first, *more = args.pairs
    rescore(filled(Request, args, pairs=first, more=tuple(more)))
    return 0
