"""Score a run's translations with sacreBLEU and write its result record."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import platform
from pathlib import Path
from typing import Any

from ..data.bitext import read_lines
from ..errors import UserError
from ..files import sha256, write_json

EXAMPLES = """examples:
  lskd score --run runs/mine/student --checkpoint runs/mine/student/checkpoint_average.pt \\
      --hypotheses runs/mine/student/test.hyp.en --references data/multi30k/raw/test.en \\
      --validation runs/mine/student/validate/log.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", dest="folder", type=Path, required=True, metavar="DIR", help="the run's folder; gets result.json"
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="the model that was decoded")
    parser.add_argument("--hypotheses", type=Path, required=True, metavar="FILE", help="translations, detokenised")
    parser.add_argument("--references", type=Path, required=True, metavar="FILE", help="references, detokenised")
    parser.add_argument(
        "--validation", type=Path, metavar="LOG", help="what fairseq-validate --log-format json printed"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="truth.json of a generated bitext: adds the divergence from the truth",
    )
    parser.add_argument(
        "--pieces", type=Path, metavar="FILE", help="the validated target in pieces, to count its tokens (with --truth)"
    )


def read_validation(path: Path) -> dict[str, float]:
    """The statistics in the closing line of `fairseq-validate --log-format json`.

    Raises:
        UserError: if there is no such line.
    """
    for line in reversed(list(read_lines(path))):
        if '"valid_nll_loss"' in line or '"nll_loss"' in line:
            try:
                stats = json.loads(line[line.index("{") :])
            except ValueError:
                raise UserError(f"{path}: expected statistics in JSON, found {line[:60]!r}") from None
            return {key.removeprefix("valid_"): float(value) for key, value in stats.items() if value is not None}
    raise UserError(f"{path}: expected what fairseq-validate --log-format json prints, found no line with nll_loss")


def divergence_from_truth(nll_bits: float, pieces: Path, truth: Path) -> float:
    """KL(truth || model), estimated on the validated sentences, in nats a sentence.

    An upper bound: the model's probability of a translation is that of one way to cut it into pieces.
    """
    sentences = tokens = 0
    for line in read_lines(pieces):
        sentences += 1
        tokens += len(line.split()) + 1  # and the end of the sentence
    known = json.loads(truth.read_text(encoding="utf-8"))["valid"]
    return nll_bits * math.log(2) * tokens / sentences + known["log_prob_per_sentence"]


def run(args: argparse.Namespace) -> int:
    import fairseq  # noqa: F401  lets the compat layer allow-list what fairseq's checkpoints hold

    from ..runs import RECORD
    from ..scoring import score_corpus
    from ..scoring.parameters import count_parameters
    from ..teachers.checkpoint import read_archive

    if args.truth and not (args.validation and args.pieces):
        raise UserError("--truth needs --validation and --pieces, which it is compared with")
    if not (args.folder / RECORD).is_file():
        raise UserError(f"--run {args.folder}: found no {RECORD} there, which `lskd run` writes")
    record = json.loads((args.folder / RECORD).read_text(encoding="utf-8"))
    # Every record has all of these, null where they do not apply.
    result: dict[str, Any] = {"system": args.folder.name}
    result |= dict.fromkeys(("role", "method", "teacher_smoothing", "temperature")) | record["labels"]
    result["parameters"] = count_parameters(read_archive(args.checkpoint)["model"])
    result |= score_corpus(list(read_lines(args.hypotheses)), list(read_lines(args.references)))
    if args.validation:
        stats = read_validation(args.validation)
        # Not fairseq's own "ppl", which it rounds.
        result["valid_ppl"] = round(2 ** stats["nll_loss"], 3)
        result |= {f"valid_{key}": stats[key] for key in ("accuracy", "entropy", "ece") if key in stats}
        if args.truth:
            result["kl_to_truth"] = round(divergence_from_truth(stats["nll_loss"], args.pieces, args.truth), 3)
    result["train_seconds"] = record["seconds"]
    result["command"] = record["command"]
    result["checkpoint_sha256"] = sha256(args.checkpoint)
    packages = ("fairseq", "torch", "sacrebleu", "sentencepiece", "numpy")
    result["versions"] = {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}}
    write_json(args.folder / "result.json", result)
    print(f"{result['system']}: BLEU {result['bleu']} chrF {result['chrf']} ({result['signature']})")
    return 0
