"""Score n-best lists or a bitext with a model, by forced decoding.

NBEST is a list that `lskd translate` wrote, or translations of other software, or a bitext (--format). The output has
one JSON array per source sentence, with a score for each of its hypotheses, which `lskd select` reads with --scores,
--filter-worst and --filter-below. A score is the model's log-probability per token, including the end-of-sentence
token; higher is better. If the command is killed, run it again to continue. docs/rescore.md has the details.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..user_dir import add_user_dir
from ._options import add_options

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


LIMIT = "in tokens (default: the model's limit; 512 with --model)"


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

    model = parser.add_argument_group("scoring model")
    add_user_dir(model)
    unrecorded = "if the checkpoint does not record it or is multilingual"
    add_options(
        model,
        ("--teacher-path", str, "FILES", "fairseq checkpoint, or checkpoints of an ensemble joined by ':'"),
        ("--model", Path, "DIR", "CTranslate2 model folder, instead of --teacher-path"),
        ("--teacher-data", str, "DIR", "folder with the model's dict.LANG.txt (default: beside the checkpoint)"),
        ("-s --source-lang", str, "LANG", f"language that the model reads, {unrecorded}"),
        ("-t --target-lang", str, "LANG", f"language that the model writes, {unrecorded}"),
        ("--sentencepiece", Path, "FILE", "SentencePiece model of both sides (default: NBEST is in its pieces)"),
        ("--sentencepiece-source", Path, "FILE", "SentencePiece model of the language that the model reads"),
        ("--sentencepiece-target", Path, "FILE", "SentencePiece model of the language that the model writes"),
        ("--source-prefix", str, "TOKENS", "tokens to add before every source (with --model)", ""),
        ("--source-suffix", str, "TOKENS", "tokens to add after every source (with --model)"),
        ("--target-prefix", str, "TOKENS", "tokens before every target, which are not scored (with --model)", ""),
        ("--max-source-positions", int, "N", f"maximum length of what the model reads, {LIMIT}"),
        ("--max-target-positions", int, "N", f"maximum length of what the model writes, {LIMIT}"),
    )

    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--engine",
        choices=("auto", "ctranslate2", "fairseq"),
        default="auto",
        help="program that scores; auto is CTranslate2 if it supports the model (default: %(default)s)",
    )
    engine.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="device to score on (default: %(default)s)"
    )
    engine.add_argument(
        "--compute-type",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="numeric type of the computation (default: %(default)s)",
    )
    add_options(
        engine,
        ("--threads", int, "N", "number of CPU cores (default: OMP_NUM_THREADS, or all cores)"),
        ("--workers", int, "N", "number of batches that are scored at the same time, sharing the cores"),
        ("--max-tokens", int, "N", "maximum tokens per batch, including padding"),
        ("--cache-dir", Path, "DIR", "folder for converted models (default: ctranslate2-models beside --out)"),
        ("--window", int, "N", "number of sentences that are sorted by length and written together", 2000),
    )


def run(args: argparse.Namespace) -> int:
    from ..sequences.rescoring import Request, rescore

    if args.out is None:
        raise UserError("--out is missing: give the file to write")
    first, *more = args.pairs
    own: dict[str, Any] = {"pairs": first, "more": tuple(more)}
    rescore(Request(**own, **{each.name: getattr(args, each.name) for each in fields(Request) if each.name not in own}))
    return 0
