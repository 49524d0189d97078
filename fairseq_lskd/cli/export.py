"""Turn a student into a folder that translates raw text with CTranslate2: no fairseq, no torch, int8 weights.

OUT gets model.bin, config.json and vocabularies (`ctranslate2.Translator(OUT)` loads it), the SentencePiece model, and
export.json, which says what it was made from. examples/translate_raw.py translates with it; docs/export.md says more.
"""

from __future__ import annotations

import argparse
import logging
import platform
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..user_dir import add_user_dir

if TYPE_CHECKING:
    from ..export.comparison import RawBitext
    from ..export.pieces import Pieces
    from ..teachers.alone import Teacher

#: What CTranslate2 stores weights as.
COMPUTE_TYPES = (
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
)
COMPARISON = ".compare.json"  # beside the folder, which holds what its manifest lists

EXAMPLES = """examples:
  lskd export runs/mine/student/checkpoint_average.pt --out exported/de-en
  python examples/translate_raw.py exported/de-en < data/multi30k/raw/test.de
  lskd export runs/mine/student/checkpoint_average.pt --out exported/de-en \\
      --compare data/multi30k/raw/test.de data/multi30k/raw/test.en
  lskd export runs/mine/student/checkpoint_average.pt --out exported/de-en --data data/multi30k/bin \\
      --generate test.hyp.en --search='--beam 5 --max-tokens 4000'
  lskd export other.pt --out exported/other --teacher-data other-bin --sentencepiece-source de.model \\
      --sentencepiece-target en.model --compute-type float16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd export`."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="of a Transformer that fairseq-train trained")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--compute-type", choices=COMPUTE_TYPES, default="int8", help="what weights are stored as (%(default)s)"
    )
    parser.add_argument(
        "--if-possible",
        action="store_true",
        help="warn instead of failing where CTranslate2 is missing or cannot do it",
    )
    add_user_dir(parser)
    text = parser.add_argument_group("its vocabulary; looked for beside the checkpoint and its data")
    text.add_argument("--teacher-data", "--data", metavar="DIR", help="folder of its dict.LANG.txt")
    text.add_argument("-s", "--source-lang", metavar="LANG", help="where the checkpoint doesn't say it")
    text.add_argument("-t", "--target-lang", metavar="LANG")
    text.add_argument("--sentencepiece", type=Path, metavar="FILE", help="the model of both sides")
    text.add_argument("--sentencepiece-source", type=Path, metavar="FILE", help="the source's, if it is another")
    text.add_argument("--sentencepiece-target", type=Path, metavar="FILE", help="the target's, if it is another")
    generate = parser.add_argument_group("translations of a split of --data, as fairseq-generate makes them")
    generate.add_argument(
        "--generate", type=Path, metavar="FILE", help="translate it with the folder into FILE, a sentence a line"
    )
    generate.add_argument("--subset", default="test", metavar="SPLIT", help="(%(default)s)")
    generate.add_argument(
        "--search", metavar="OPTIONS", help="options of fairseq-generate, in quotes: --search='--beam 4 --lenpen 0.6'"
    )
    compare = parser.add_argument_group("a comparison with the checkpoint: size, sentences a second, BLEU")
    compare.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("SOURCE", "REFERENCES"),
        help=f"raw text, one sentence a line (.gz too); the table goes to stdout, its rows into DIR{COMPARISON}",
    )
    compare.add_argument("--limit", type=int, metavar="N", help="only the first N sentences")
    compare.add_argument("--beam", type=int, default=5, metavar="N", help="(%(default)s)")
    compare.add_argument("--rounds", type=int, default=3, metavar="N", help="turns that each takes (%(default)s)")
    compare.add_argument("--threads", type=int, default=1, metavar="N", help="cores to use (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the folder, or say that it is there; translate with it; compare it."""
    from ..sequences.engines.choose import require_ctranslate2

    _check(args)
    try:
        require_ctranslate2("lskd export")
    except UserError as error:
        return _impossible(args, error)
    # fairseq tells of its plug-ins and dictionaries, and asks torch for what that calls deprecated.
    for name in ("fairseq", "fairseq_lskd"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    from ..export.facts import size
    from ..export.folder import export_student
    from ..export.pieces import NoPieces, find_pieces
    from ..sequences.engines.conversion import Unsupported
    from ..teachers.alone import load_teacher

    test = _test_set(args)
    student = load_teacher(args.checkpoint, args.teacher_data, args.source_lang, args.target_lang)
    if student.marks is not None:
        raise UserError(
            f"{args.checkpoint} translates several languages, by tokens that a folder does not say: expected one of "
            "the task translation. Convert it with ct2-fairseq-converter."
        )
    try:
        pieces = find_pieces(student, args.sentencepiece, args.sentencepiece_source, args.sentencepiece_target)
        new = export_student(student, pieces, args.out, args.compute_type)
    except NoPieces as error:
        return _impossible(args, error)
    except Unsupported as error:
        said = (
            f"{args.checkpoint} cannot be exported: {error}. fairseq-generate, and `lskd translate`, run it as it is."
        )
        return _impossible(args, UserError(said))
    done = f"{args.compute_type}, {size(args.out) / 1e6:,.2f} MB" if new else "up to date"
    print(f"{args.out}: {done}", file=sys.stderr)
    if args.generate and (reason := _generate(args)):
        return _impossible(args, reason)
    if test:
        _compare(args, student, pieces, test)
    return 0


def _impossible(args: argparse.Namespace, error: UserError) -> int:
    """Fail, or warn where that was asked for."""
    if not args.if_possible:
        raise error
    print(f"warning: {error}", file=sys.stderr)
    return 0


def _check(args: argparse.Namespace) -> None:
    if ":" in args.checkpoint:
        raise UserError(
            f"CHECKPOINT {args.checkpoint}: expected one, CTranslate2 has no ensembles; average the checkpoints of one "
            "run with `lskd average`, or distil the ensemble into a student"
        )
    if args.generate and not args.teacher_data:
        raise UserError("--generate needs --data, the folder of the binarised split")
    if args.search and not args.generate:
        raise UserError(f"--search {args.search}: goes with --generate")


def _generate(args: argparse.Namespace) -> UserError | None:
    """Translate the split; or why CTranslate2 cannot."""
    from ..export.generation import Exported, Generation, NoSuchSearch
    from ..files import write_beside
    from ..machine import threads

    try:
        options = shlex.split(args.search or "")
    except ValueError as error:
        raise UserError(f"--search {args.search}: expected options as in a shell ({error})") from None
    # On several GPUs fairseq would take a part of the split each.
    options = ["--distributed-world-size", "1", *options]
    options += [word for folder in args.user_dirs for word in ("--user-dir", folder)]
    try:
        generation = Generation.read(Path(args.teacher_data), args.subset, options)
    except NoSuchSearch as reason:
        return reason
    lines = Exported(args.out, generation.search, threads()).texts(generation)
    with write_beside(args.generate) as part:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{args.generate}: {len(lines):,} sentences", file=sys.stderr)
    return None


def _test_set(args: argparse.Namespace) -> RawBitext | None:
    """What to compare on: read first, so that its mistakes cost no time."""
    if not args.compare:
        return None
    from ..export.comparison import RawBitext

    source, references = args.compare
    return RawBitext(source, references, args.limit)


def _compare(args: argparse.Namespace, student: Teacher, pieces: Pieces, test: RawBitext) -> None:
    from ..compat.versions import version_of
    from ..export.comparison import compare, format_comparison
    from ..files import write_json

    rows = compare(student, pieces, [args.out], test, beam=args.beam, rounds=args.rounds, cores=args.threads)
    packages = ("fairseq_lskd", "fairseq", "torch", "ctranslate2", "sentencepiece", "sacrebleu")
    story = {
        "command": ["lskd", *sys.argv[1:]],
        "versions": {"python": platform.python_version(), **{p: version_of(p) for p in packages}},
    }
    write_json(args.out.with_name(args.out.name + COMPARISON), [row | story for row in rows])
    print(format_comparison(rows))
