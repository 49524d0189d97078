"""Score a run, and write its result record, which `lskd table` reads.

The record is result.json in the run's folder. It contains scores with their signatures, model size, perplexity, how the
model was trained (from its checkpoint and the manifests of its inputs), times, digests and versions. scripts/score.sh
decodes a run and calls this command. A folder of plain fairseq-train is recorded too; its record has no time and no
command.

The checks are those of `lskd score`. BLEU's tokeniser depends on the target language (-l), or else on the script of the
references; --tokenize overrides it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._options import METRICS, add_options, add_scoring, filled

EXAMPLES = """examples:
  lskd record --run runs/mine/student --checkpoint runs/mine/student/checkpoint_average.pt \\
      --hypotheses runs/mine/student/test.hyp.en --references data/multi30k/raw/test.en \\
      --validation runs/mine/student/validate/log.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_scoring(parser, METRICS, "bleu chrf; comet cannot be recorded")
    run = parser.add_argument_group("the run")
    run.add_argument(
        "--run",
        dest="folder",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the run, which gets result.json",
    )
    run.add_argument(
        "--check",
        dest="check_only",
        action="store_true",
        help="only check the options and the references, before you decode the run",
    )
    run.add_argument(
        "--label",
        dest="labels",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="label of a training by plain fairseq-train, such as role=student; `lskd run` has its own (repeatable)",
    )
    add_options(
        run,
        ("--test-name", str, "NAME", "name of an additional test set; the record is written to result-NAME.json"),
        ("--checkpoint", Path, "FILE", "checkpoint that was decoded"),
        (
            "--hypotheses",
            Path,
            "FILE",
            "translations of the checkpoint: detokenised text, or what lskd translate or fairseq-generate wrote",
        ),
        ("--exported", Path, "DIR", "folder that `lskd export` wrote from the checkpoint: adds its scores and size"),
        ("--exported-hypotheses", Path, "FILE", "translations that `lskd export --generate` wrote"),
        ("--validation", Path, "LOG", "output of fairseq-validate --log-format json: adds the perplexity"),
        ("--truth", Path, "FILE", "truth.json of a generated bitext: adds the divergence from the truth"),
        ("--pieces", Path, "FILE", "target side of the validated split in pieces, to count its tokens (with --truth)"),
    )


def run(args: argparse.Namespace) -> int:
    from ..export.facts import exported_facts
    from ..scoring.metrics import NAMES, signature_key
    from ..scoring.scored_run import Run, record_run

    if (result := record_run(filled(Run, args), exported_facts)) is not None:
        row = result.to_row()
        metrics = [name for name in NAMES if name in row]
        scores = " ".join(f"{NAMES[name]} {row[name]}" for name in metrics)
        print(f"{row['system']}: {scores} ({row[signature_key(metrics[0])]})")
    return 0
