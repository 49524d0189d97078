"""Score a run's translations with sacreBLEU and write its result record."""

from __future__ import annotations

import argparse
import importlib.metadata
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


def run(args: argparse.Namespace) -> int:
    import fairseq  # noqa: F401  lets the compat layer allow-list what fairseq's checkpoints hold

    from ..runs import read_record
    from ..scoring import score_corpus
    from ..scoring.parameters import count_parameters
    from ..scoring.validation import divergence_from_truth, read_validation
    from ..teachers.checkpoint import read_archive

    if args.truth and not (args.validation and args.pieces):
        raise UserError("--truth needs --validation and --pieces, which it is compared with")
    record = read_record(args.folder)
    # Every record has all of these, null where they do not apply.
    result: dict[str, Any] = {"system": args.folder.name}
    result |= dict.fromkeys(("role", "method", "teacher_smoothing", "temperature")) | record["labels"]
    result["parameters"] = count_parameters(read_archive(args.checkpoint)["model"])
    # The sentences of a generated bitext do end in " .".
    generated = args.truth is not None
    result |= score_corpus(list(read_lines(args.hypotheses)), list(read_lines(args.references)), force=generated)
    if args.validation:
        stats = read_validation(args.validation)
        # fairseq logs nll_loss to three digits: that is good for two here.
        result["valid_ppl"] = round(2 ** stats["nll_loss"], 2)
        result |= {f"valid_{key}": stats[key] for key in ("accuracy", "entropy", "ece") if key in stats}
        if args.truth:
            result["kl_to_truth"] = round(divergence_from_truth(stats["nll_loss"], args.pieces, args.truth), 2)
    result["train_seconds"] = record["seconds"]
    result["command"] = record["command"]
    result["checkpoint_sha256"] = sha256(args.checkpoint)
    packages = ("fairseq", "torch", "sacrebleu", "sentencepiece", "numpy")
    result["versions"] = {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}}
    write_json(args.folder / "result.json", result)
    print(f"{result['system']}: BLEU {result['bleu']} chrF {result['chrf']} ({result['signature']})")
    return 0
