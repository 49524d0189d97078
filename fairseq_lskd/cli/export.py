"""Export a student to a folder that translates raw text with CTranslate2, without fairseq and torch.

The folder contains model.bin, config.json and vocabularies (load it with ctranslate2.Translator), the SentencePiece
model, and the manifest export.json. Weights are stored in int8 by default. examples/translate_raw.py of the checkout
translates with the folder, and so does `lskd translate --model`. docs/export.md has the details.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..extras import require
from ..user_dir import add_user_dir
from ._options import add_options, add_out

if TYPE_CHECKING:
    from ..export.comparison import RawBitext
    from ..export.pieces import Pieces
    from ..teachers.alone import Teacher

#: The types in which CTranslate2 stores weights.
COMPUTE_TYPES = ("int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")
COMPARISON = ".compare.json"  # a file beside the folder, as the manifest lists all files in the folder

EXAMPLES = """examples:
  lskd export runs/mine/student/checkpoint_average.pt --out exported/de-en
  python examples/translate_raw.py exported/de-en < data/multi30k/raw/test.de
  lskd translate data/multi30k/raw/test.de --model exported/de-en \\
      --sentencepiece exported/de-en/sentencepiece.model --out test.jsonl
  lskd harvest test.jsonl --source data/multi30k/raw/test.de --out test.hyp.en
  lskd export runs/mine/student/checkpoint_average.pt --out exported/de-en \\
      --compare data/multi30k/raw/test.de data/multi30k/raw/test.en
  lskd export runs/mine/student/checkpoint_average.pt --out exported/de-en --data data/multi30k/bin \\
      --generate test.hyp.en --search='--beam 5 --max-tokens 4000'
  lskd export many.pt --out exported/many
  lskd translate test.de --model exported/many -s de -t en --sentencepiece exported/many/sentencepiece.model \\
      --out nbest.jsonl
  lskd export tagged.pt --out exported/tagged --source-prefix 'eng_Latn hin_Deva'
  lskd export other.pt --out exported/other --teacher-data other-bin --sentencepiece-source de.model \\
      --sentencepiece-target en.model --compute-type float16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd export`."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="checkpoint of a Transformer that fairseq-train trained"
    )
    add_out(parser)
    parser.add_argument(
        "--compute-type",
        choices=COMPUTE_TYPES,
        default="int8",
        metavar="TYPE",
        help=f"type of the stored weights: {', '.join(COMPUTE_TYPES)} (default: %(default)s)",
    )
    parser.add_argument(
        "--if-possible",
        action="store_true",
        help="only warn if CTranslate2 is missing or does not support the model, instead of an error",
    )
    add_user_dir(parser)
    languages = "if the checkpoint does not record it; of the pair to export from a multilingual model (default: all)"
    add_options(
        parser.add_argument_group("vocabulary (default: found beside the checkpoint and its data)"),
        ("--teacher-data --data", str, "DIR", "folder with the student's dict.LANG.txt"),
        ("-s --source-lang", str, "LANG", f"source language, {languages}"),
        ("-t --target-lang", str, "LANG", f"target language, {languages}"),
        (
            "--source-prefix",
            str,
            "TAGS",
            "tags with which each source begins, such as 'eng_Latn hin_Deva' (IndicTrans2)",
        ),
        ("--sentencepiece", Path, "FILE", "SentencePiece model of both source and target"),
        ("--sentencepiece-source", Path, "FILE", "SentencePiece model of the source"),
        ("--sentencepiece-target", Path, "FILE", "SentencePiece model of the target"),
    )
    add_options(
        parser.add_argument_group("translate a split of --data, like fairseq-generate"),
        ("--generate", Path, "FILE", "translate --subset with the exported folder, one translation per line"),
        ("--subset", str, "SPLIT", "split to translate", "test"),
        ("--search", str, "OPTIONS", "search options of fairseq-generate: --search='--beam 4 --lenpen 0.6'"),
    )
    compare = parser.add_argument_group("compare with the checkpoint: size, sentences per second and BLEU")
    compare.add_argument(
        "--compare",
        nargs="+",
        type=Path,
        metavar=("SOURCE", "REFERENCES"),
        help=f"raw text to translate with both, and one or more files of references, one sentence per line, plain or "
        f"gzipped (.gz); prints a table, and writes its rows to DIR{COMPARISON}",
    )
    add_options(
        compare,
        ("--limit", int, "N", "compare on the first N sentences only"),
        ("--beam", int, "N", "beam size of the comparison", 5),
        ("--rounds", int, "N", "number of times that each model translates the text", 3),
        ("--threads", int, "N", "number of CPU cores for the comparison", 1),
    )


def run(args: argparse.Namespace) -> int:
    """Write the folder unless it is up to date. Translate with it and compare it, if the options say so."""
    _check(args)
    try:
        require("lskd export", "ctranslate2")
    except UserError as error:
        return _fail_or_warn(args, error)
    from ..export.facts import size
    from ..export.folder import export_student
    from ..export.languages import load_student, with_tags
    from ..export.pieces import NoPieces, find_pieces
    from ..sequences.engines.conversion import Unsupported

    test = _test_set(args)
    student, pairs = load_student(args.checkpoint, args.teacher_data, args.source_lang, args.target_lang)
    if len(pairs) > 1 and (flag := "--generate" if args.generate else "--compare" if args.compare else None):
        raise UserError(
            f"{flag} translates one language pair, but {args.checkpoint} has {len(pairs)}. Choose one with "
            "--source-lang and --target-lang"
        )
    if args.source_prefix:
        pairs = with_tags(student, args.source_prefix)
    try:
        pieces = find_pieces(student, args.sentencepiece, args.sentencepiece_source, args.sentencepiece_target)
        new = export_student(student, pieces, args.out, args.compute_type, pairs)
    except NoPieces as error:
        return _fail_or_warn(args, error)
    except Unsupported as error:
        message = f"{args.checkpoint} cannot be exported: {error}. Decode it with fairseq-generate or `lskd translate`."
        return _fail_or_warn(args, UserError(message))
    done = f"{args.compute_type}, {size(args.out) / 1e6:,.2f} MB" if new else "up to date"
    print(f"{args.out}: {done}", file=sys.stderr)
    if args.generate and (reason := _generate(args)):
        return _fail_or_warn(args, reason)
    if test:
        _compare(args, student, pieces, test)
    return 0


def _fail_or_warn(args: argparse.Namespace, error: UserError) -> int:
    """Raise the error, or print it as a warning with --if-possible."""
    if not args.if_possible:
        raise error
    print(f"warning: {error}", file=sys.stderr)
    return 0


def _check(args: argparse.Namespace) -> None:
    if ":" in args.checkpoint:
        raise UserError(
            f"CHECKPOINT {args.checkpoint}: expected one checkpoint, as CTranslate2 has no ensembles. Average the "
            "checkpoints of a run with `lskd average`, or distil the ensemble into a student"
        )
    if args.generate and not args.teacher_data:
        raise UserError("--generate needs --data: give the folder of the binarised split")
    if args.source_prefix and (args.generate or args.compare):
        raise UserError(
            f"--source-prefix {args.source_prefix!r} works with neither --generate nor --compare: leave them out, "
            "translate with the folder (`lskd translate --model`, examples/translate_raw.py), and score the text"
        )
    if args.search and not args.generate:
        raise UserError(f"--search {args.search} works with --generate only: add it, or leave out --search")


def _generate(args: argparse.Namespace) -> UserError | None:
    """Translate the split. Return the reason if CTranslate2 does not support the search."""
    from ..export.generation import Exported, Generation, NoSuchSearch
    from ..files import write_beside
    from ..machine import threads

    try:
        options = shlex.split(args.search or "")
    except ValueError as error:
        raise UserError(f"--search {args.search}: expected options as on a command line ({error})") from None
    # By default, fairseq divides the split among all GPUs.
    given = (("-s", args.source_lang), ("-t", args.target_lang))
    languages = [word for flag, language in given if language for word in (flag, language)]
    options = ["--distributed-world-size", "1", *languages, *options]
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
    """Read the text of --compare. This is done first, so that mistakes are found before the export."""
    if not args.compare:
        return None
    from ..export.comparison import RawBitext

    source, *references = args.compare
    if not references:
        raise UserError(f"--compare {source}: expected the references of this text too: --compare SOURCE REFERENCES")
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
