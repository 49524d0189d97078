"""Score one run, and write its result record: result.json in its folder, for `lskd table`.

The record has scores with their signatures, size, perplexity, how the model was trained, by its checkpoint and the
manifests of its inputs, seconds, digests and versions. scripts/score.sh decodes a run and calls this.

It refuses what `lskd score` refuses. BLEU's tokeniser is that of the target language (-l), or else of the references'
script; --tokenize takes another.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._scoring import METRICS, add_scoring

EXAMPLES = """examples:
  lskd record --run runs/mine/student --checkpoint runs/mine/student/checkpoint_average.pt \\
      --hypotheses runs/mine/student/test.hyp.en --references data/multi30k/raw/test.en \\
      --validation runs/mine/student/validate/log.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_scoring(parser, METRICS, "bleu chrf; comet does not go with a run")
    run = parser.add_argument_group("the record of a run")
    run.add_argument(
        "--run", dest="folder", type=Path, required=True, metavar="DIR", help="the run's folder; gets result.json"
    )
    run.add_argument(
        "--check",
        dest="check_only",
        action="store_true",
        help="only check the options and the references, before the run is decoded",
    )
    run.add_argument(
        "--test-name", metavar="NAME", help="of a further test set: the record is result-NAME.json, and says so"
    )
    run.add_argument("--checkpoint", type=Path, metavar="FILE", help="the model that was decoded")
    run.add_argument("--hypotheses", type=Path, metavar="FILE", help="its translations, detokenised")
    run.add_argument(
        "--exported", type=Path, metavar="DIR", help="a folder that `lskd export` wrote of it: adds its scores and size"
    )
    run.add_argument(
        "--exported-hypotheses", type=Path, metavar="FILE", help="its translations, by `lskd export --generate`"
    )
    run.add_argument("--validation", type=Path, metavar="LOG", help="what fairseq-validate --log-format json printed")
    run.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="truth.json of a generated bitext: adds the divergence from the truth",
    )
    run.add_argument(
        "--pieces", type=Path, metavar="FILE", help="the validated target in pieces, to count its tokens (with --truth)"
    )


def run(args: argparse.Namespace) -> int:
    from dataclasses import fields

    from ..export.facts import exported_facts
    from ..scoring.metrics import NAMES, signature_key
    from ..scoring.scored_run import Run, record_run

    asked = Run(**{each.name: getattr(args, each.name) for each in fields(Run)})
    if (result := record_run(asked, exported_facts)) is not None:
        row = result.to_row()
        metrics = [name for name in NAMES if name in row]
        scores = " ".join(f"{NAMES[name]} {row[name]}" for name in metrics)
        print(f"{row['system']}: {scores} ({row[signature_key(metrics[0])]})")
    return 0
