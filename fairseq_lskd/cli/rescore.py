"""Score pairs of source sentences and hypotheses with a model that is forced to write them (forced decoding).

NBEST is a list that `lskd translate` wrote, or translations of other software or a bitext (--format). OUT gets one JSON
array per source sentence, with a score for each of its hypotheses: the form that `lskd select` reads with --scores,
--filter-worst and --filter-below. A score is the natural logarithm of the model's probability, per token with the end
mark; the highest is the best. Call the same command again after a kill, and it continues. docs/rescore.md says more.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from ..errors import UserError
from ..user_dir import add_user_dir

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
    parser.add_argument("--out", type=Path, metavar="FILE", help="the scores (.gz: gzipped)")
    score = parser.add_argument_group("the score")
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
    score.add_argument("--sum", action="store_true", help="log-probability of the sentence, not divided by its length")

    pairs = parser.add_argument_group("hypotheses that lskd translate did not write, and bitexts")
    pairs.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="format of NBEST. json: as `lskd translate` writes it; text: one target per line, or --nbest lines per "
        "sentence; moses: ID ||| TEXT ||| FEATURES ||| SCORE; fairseq: output of fairseq-generate (default: json)",
    )
    pairs.add_argument("--source", type=Path, metavar="FILE", help="source sentences, one per line")
    pairs.add_argument(
        "--nbest", type=int, default=1, metavar="N", help="lines per sentence with --format text (default: %(default)s)"
    )
    pairs.add_argument(
        "--remove-bpe",
        choices=SCHEMES,
        default=SCHEMES[0],
        help="pieces that NBEST and --source are in, if they are not text (default: %(default)s)",
    )

    teacher = parser.add_argument_group("the scoring model")
    add_user_dir(teacher)
    teacher.add_argument(
        "--teacher-path", metavar="FILE", help="fairseq checkpoint; several joined by : are an ensemble"
    )
    teacher.add_argument(
        "--model", type=Path, metavar="DIR", help="CTranslate2 model folder, instead of --teacher-path"
    )
    teacher.add_argument(
        "--teacher-data", metavar="DIR", help="folder of its dict.LANG.txt (default: beside the checkpoint)"
    )
    teacher.add_argument(
        "-s",
        "--source-lang",
        metavar="LANG",
        help="language that the model reads, if its checkpoint names none or several",
    )
    teacher.add_argument(
        "-t",
        "--target-lang",
        metavar="LANG",
        help="language that the model writes, if its checkpoint names none or several",
    )
    teacher.add_argument(
        "--sentencepiece",
        type=Path,
        metavar="FILE",
        help="split the text of both sides with this SentencePiece model (default: NBEST is in the model's pieces)",
    )
    teacher.add_argument(
        "--sentencepiece-source", type=Path, metavar="FILE", help="SentencePiece model of the side that the model reads"
    )
    teacher.add_argument(
        "--sentencepiece-target",
        type=Path,
        metavar="FILE",
        help="SentencePiece model of the side that the model writes",
    )
    teacher.add_argument(
        "--source-prefix", default="", metavar="TOKENS", help="tokens before every source (with --model)"
    )
    teacher.add_argument("--source-suffix", metavar="TOKENS", help="tokens after every source (with --model)")
    teacher.add_argument(
        "--target-prefix", default="", metavar="TOKENS", help="tokens before every target, not scored (with --model)"
    )
    teacher.add_argument(
        "--max-source-positions",
        type=int,
        metavar="N",
        help="maximum length of what the model reads, in tokens (default: the model's limit; 512 with --model)",
    )
    teacher.add_argument(
        "--max-target-positions",
        type=int,
        metavar="N",
        help="maximum length of what the model writes, in tokens (default: the model's limit; 512 with --model)",
    )

    engine = parser.add_argument_group("the engine")
    engine.add_argument(
        "--engine",
        choices=("auto", "ctranslate2", "fairseq"),
        default="auto",
        help="auto takes CTranslate2 where it can score with the model (default: %(default)s)",
    )
    engine.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    engine.add_argument(
        "--compute-type",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="number format of the model (default: %(default)s)",
    )
    engine.add_argument("--threads", type=int, metavar="N", help="cores to use (default: OMP_NUM_THREADS, or all)")
    engine.add_argument("--workers", type=int, metavar="N", help="batches at a time, which share the cores")
    engine.add_argument("--max-tokens", type=int, metavar="N", help="tokens in a batch, padding counted")
    engine.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="folder for converted models (default: ctranslate2-models beside --out)",
    )
    engine.add_argument(
        "--window",
        type=int,
        default=2000,
        metavar="N",
        help="sentences that are sorted by length, scored and written at a time (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Score the pairs."""
    from ..sequences.rescoring import Request, rescore

    if args.out is None:
        raise UserError("--out is missing: name the file to write")
    first, *more = args.pairs
    own = {"pairs": first, "more": tuple(more)}
    rescore(Request(**own, **{each.name: getattr(args, each.name) for each in fields(Request) if each.name not in own}))
    return 0
