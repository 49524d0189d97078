"""Measure the decoding speed of several checkpoints on one machine, with fairseq-generate.

Each round decodes the split with every checkpoint, in a rotated order. The speed of a checkpoint is the median of its
rounds. As in fairseq-generate, the time is that of the search, without loading. Run no other programs at the same time.

With --exported, folders of `lskd export` are measured too, on the same batches with the same search. All models then
decode on the CPU.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..extras import require
from ..files import write_json
from ..user_dir import add_user_dir
from ._options import add_options

if TYPE_CHECKING:
    from ..scoring.speed import Turn

EXAMPLES = """examples:
  lskd speed --data data/mine/bin --model teacher=runs/mine/teacher/checkpoint_average.pt \\
      --model word=runs/mine/word/checkpoint_average.pt --out runs/mine/speed.json -- --beam 5 --max-tokens 4000
  lskd speed --data data/mine/bin --model word=runs/mine/word/checkpoint_average.pt --threads 1 \\
      --exported word=runs/mine/word/exported --out runs/mine/speed.json -- --beam 5 --max-tokens 4000
  lskd table runs/mine/*/result.json --speed runs/mine/speed.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of binarised data")
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="checkpoint to measure, and its name in tables (repeatable)",
    )
    parser.add_argument(
        "--exported",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="folder that `lskd export` wrote from the --model of the same name (repeatable)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="output file (JSON)")
    add_options(
        parser,
        ("--subset", str, "SPLIT", "split to decode", "test"),
        ("--rounds", int, "N", "number of times that each model decodes", 3),
        ("--threads", int, "N", "decode on N CPU cores (default: on a GPU, or on OMP_NUM_THREADS cores)"),
    )
    add_user_dir(parser)
    parser.usage = f"{parser.prog} --data DIR --model NAME=FILE ... --out FILE [-- OPTIONS]"
    parser.add_argument("options", nargs="*", metavar="OPTIONS", help="options of fairseq-generate, after --")


def run(args: argparse.Namespace) -> int:
    from ..machine import machine
    from ..machine import threads as usual_threads
    from ..scoring.speed import fairseq_turn, measure

    # SIGTERM ends fairseq-generate too, as SIGINT does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    models = _named("--model", args.model, Path.is_file, "NAME=FILE, with an existing checkpoint")
    exported = _named("--exported", args.exported, Path.is_dir, "NAME=DIR, with a folder that `lskd export` wrote")
    if unknown := [name for name in exported if name not in models]:
        raise UserError(f"--exported {', '.join(unknown)}: expected the name of a --model ({', '.join(models)})")
    if len(args.user_dirs) > 1:
        raise UserError(
            f"--user-dir {', '.join(args.user_dirs)}: fairseq-generate accepts one folder; import the others in its "
            "__init__.py"
        )
    threads = args.threads or usual_threads()
    options = [*(word for folder in args.user_dirs for word in ("--user-dir", folder)), *args.options]
    if (exported or args.threads) and "--cpu" not in options:
        options.append("--cpu")
    exported_turns = _exported_turns(args, models, exported, options, threads) if exported else {}
    turns = {}
    for name, checkpoint in models.items():
        turns[name, "fairseq"] = fairseq_turn(args.data, checkpoint, args.subset, options, threads)
        if name in exported_turns:
            turns[name, "exported"] = exported_turns[name][0]
    sentences, measured = measure(turns, args.rounds)
    systems = {name: measured[name, "fairseq"] for name in models}
    for name, (_, compute_type) in exported_turns.items():
        systems[name]["exported"] = {"compute_type": compute_type, **measured[name, "exported"]}
    found = {"machine": machine(), "device": "cpu" if "--cpu" in options else "any", "options": options}
    write_json(args.out, {**found, "threads": threads, "sentences": sentences, "systems": systems})
    for name, entry in systems.items():
        shipped = f", exported {entry['exported']['sentences_per_second']:,.1f}" if "exported" in entry else ""
        print(f"{name}: {entry['sentences_per_second']:,.1f} sentences/s{shipped}")
    return 0


def _named(flag: str, words: list[str], is_there: Callable[[Path], bool], expected: str) -> dict[str, Path]:
    """Return the paths of a repeatable option NAME=PATH, by name."""
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not name or not equals or not is_there(Path(path)):
            raise UserError(f"{flag} {word}: expected {expected}")
        if name in found:
            raise UserError(f"{flag} {word}: the name {name} is used for {found[name]} too; give another name")
        found[name] = Path(path)
    return found


def _exported_turns(
    args: argparse.Namespace, checkpoints: dict[str, Path], folders: dict[str, Path], options: list[str], threads: int
) -> dict[str, tuple[Turn, str]]:
    """Return each exported folder's turn (a function) and its compute type. The folders are read here."""
    require("--exported", "ctranslate2")
    from ..export.facts import manifest_of
    from ..export.generation import Exported, Generation

    for name, folder in folders.items():
        manifest_of(folder, checkpoints[name])
    generation = Generation.read(args.data, args.subset, options)

    def turn_of(model: Exported) -> Turn:
        def turn() -> tuple[int, float]:
            _, seconds = model.translate(generation)
            return generation.sentences, round(generation.sentences / seconds, 2)

        return turn

    models = {name: Exported(folder, generation.search, threads) for name, folder in folders.items()}
    return {name: (turn_of(model), model.compute_type) for name, model in models.items()}
