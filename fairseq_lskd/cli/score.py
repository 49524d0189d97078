"""Score translations with sacreBLEU: files side by side, or one run, whose result record it writes.

Given files, it scores all of them against the references, or against a test set that sacreBLEU knows (-t, -l). A file
is detokenised text, what fairseq-generate printed, or n-best lists of `lskd translate`. NAME=FILE gives a system a
name; several files of one name are its seeds. Given --run, it writes the run's result.json for `lskd table`.

BLEU's tokeniser is that of the target language (-l), or else of the references' script; --tokenize takes another.

It refuses text that looks tokenised, empty translations, numbers of lines that differ, and references that are in the
training text (--train).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_json
from ..names import PLAIN, is_plain

EXAMPLES = """examples:
  lskd score runs/mine/word/test/log.txt --references data/multi30k/raw/test.en
  lskd score a=a.en b=b.en --references ref1.en ref2.en --baseline a --paired bs --style latex
  lskd score base=out.1.de base=out.2.de new=new.1.de new=new.2.de -t wmt14 -l en-de --baseline base --out scores.json
  lskd score hyp.en --references test.en --train data/multi30k --metrics bleu chrf comet --source test.de
  lskd score --run runs/mine/student --checkpoint runs/mine/student/checkpoint_average.pt \\
      --hypotheses runs/mine/student/test.hyp.en --references data/multi30k/raw/test.en \\
      --validation runs/mine/student/validate/log.txt
"""
METRICS = ("bleu", "chrf", "chrf++", "ter", "comet")
STYLES = {"markdown": "github", "latex": "latex_booktabs"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("systems", nargs="*", metavar="[NAME=]FILE", help="translations; of one NAME: its seeds")
    test = parser.add_argument_group("the test set")
    test.add_argument("-r", "--references", type=Path, nargs="+", metavar="FILE", help="references, detokenised")
    test.add_argument("-t", "--test-set", metavar="NAME", help="or one that sacreBLEU fetches: wmt14, iwslt17, ...")
    test.add_argument("-l", "--language-pair", metavar="S-T", help="its languages, en-de: needed with -t")
    test.add_argument("--source", type=Path, metavar="FILE", help="the source, which COMET reads")
    test.add_argument(
        "--train",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="training text of the target side, or a folder of scripts/prepare.sh: must not hold the references",
    )
    scores = parser.add_argument_group("scores")
    scores.add_argument(
        "-m",
        "--metrics",
        nargs="+",
        choices=METRICS,
        metavar="NAME",
        help=f"{', '.join(METRICS)} (all but comet; bleu chrf of --run and of languages without spaces)",
    )
    scores.add_argument(
        "--tokenize",
        metavar="NAME",
        help="BLEU's tokeniser, one of sacreBLEU's: 13a, zh, ja-mecab, ko-mecab, char, ... (by the target language)",
    )
    scores.add_argument("--lowercase", action="store_true", help="ignore case")
    scores.add_argument("--comet-model", metavar="NAME", help="name or file (Unbabel/wmt22-comet-da)")
    scores.add_argument("--baseline", metavar="NAME", help="test each difference from this system")
    scores.add_argument(
        "--paired", choices=("bs", "ar"), help="paired bootstrap (bs) or approximate randomisation (ar; the default)"
    )
    scores.add_argument("--samples", type=int, metavar="N", help="resamples (1,000) or trials (10,000)")
    scores.add_argument("--jobs", type=int, default=1, metavar="N", help="processes of the test (%(default)s)")
    files = parser.add_argument_group("files")
    files.add_argument(
        "--format",
        choices=("auto", "text", "fairseq", "json"),
        default="auto",
        help="text, fairseq-generate's output, n-best JSON (auto: by how a file begins)",
    )
    files.add_argument("--remove-bpe", choices=("sentencepiece", "subword_nmt"), help="join pieces first")
    files.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON too")
    files.add_argument(
        "--style", default="simple", metavar="NAME", help="simple, markdown, latex, json, or one of tabulate's"
    )
    for what in ("tokenised", "empty", "overlap", "unknown"):
        files.add_argument(f"--allow-{what}", action="store_true", help="warn instead of refusing")
    run = parser.add_argument_group("the record of a run")
    run.add_argument("--run", dest="folder", type=Path, metavar="DIR", help="the run's folder; gets result.json")
    run.add_argument(
        "--check", action="store_true", help="only check the options and the references, before the run is decoded"
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


#: Options that belong to one of the two uses, with their values where they are not given.
_OF_RUN = {
    "check": False,
    "test_name": None,
    "checkpoint": None,
    "hypotheses": None,
    "exported": None,
    "exported_hypotheses": None,
    "validation": None,
    "truth": None,
    "pieces": None,
}
_OF_FILES: dict[str, Any] = {
    **{"systems": [], "test_set": None, "source": None, "lowercase": False},
    **{"comet_model": None, "baseline": None, "paired": None, "samples": None, "jobs": 1, "out": None},
    **{"style": "simple", "format": "auto", "remove_bpe": None},
}


def run(args: argparse.Namespace) -> int:
    if args.folder:
        return _record(args)
    return _compare(args)


def _given(args: argparse.Namespace, names: dict[str, Any]) -> list[str]:
    found = [name for name, default in names.items() if getattr(args, name) != default]
    return ["files to score" if name == "systems" else f"--{name.replace('_', '-')}" for name in found]


def _record(args: argparse.Namespace) -> int:
    problems = [f"{', '.join(other)} do not go with --run"] if (other := _given(args, _OF_FILES)) else []
    needed = ("references",) if args.check else ("checkpoint", "hypotheses", "references")
    missing = [f"--{name}" for name in needed if not getattr(args, name)]
    problems += [f"{', '.join(missing)} missing, which --run needs"] if missing else []
    if args.truth and not args.check and not (args.validation and args.pieces):
        problems.append("--truth needs --validation and --pieces, which it is compared with")
    if args.test_name and not is_plain(args.test_name):
        problems.append(f"--test-name {args.test_name}: expected {PLAIN.words}")
    if (args.exported is None) != (args.exported_hypotheses is None):
        problems.append("--exported and --exported-hypotheses go together")
    if "comet" in (args.metrics or ()):
        problems.append("--metrics comet does not go with --run")
    problems += _wrong_pair(args)
    if problems:
        raise UserError("; ".join(problems))

    from ..lines import read_lines
    from ..scoring.comparison import Data
    from ..scoring.metrics import NAMES, make_metric, of_words, signature_key
    from ..scoring.systems import Output, read_training
    from ..scoring.tokeniser import choose

    references = [list(read_lines(path)) for path in args.references]
    names = [str(path) for path in args.references]
    _same_length(names, references, None, [])
    metrics = tuple(dict.fromkeys(args.metrics or ("bleu", "chrf")))
    language = _target(args)
    chosen = choose(references[0], language, args.tokenize)
    # The sentences of a generated bitext do end in " .".
    tokenised = args.allow_tokenised or args.truth is not None
    training = read_training(args.train)
    allowed = (tokenised, args.allow_empty, args.allow_overlap)
    if args.check:
        for name in metrics:
            make_metric(name, chosen.tokenize, language=chosen.language)
        Data(references, [], []).check(names, training, *allowed, language=language)
        return 0

    import fairseq  # noqa: F401  lets the compat layer allow-list what fairseq's checkpoints hold

    from ..scoring.record import make_record

    hypotheses = list(read_lines(args.hypotheses))
    result = make_record(
        *(args.folder, args.checkpoint, hypotheses, references, metrics),
        *(args.validation, args.truth, args.pieces, chosen),
    ).to_row()
    if args.exported:
        from ..export.facts import exported_facts

        translated = list(read_lines(args.exported_hypotheses))
        result["exported"] = exported_facts(args.exported, args.checkpoint, translated, references, metrics, chosen)
    data = Data(references, [Output(args.folder.name, args.hypotheses)], [hypotheses])
    data.check(names, training, *allowed, weak=True, language=language)
    _warn([*chosen.warnings, *filter(None, [of_words(metrics, chosen)])])
    if not args.truth:
        _warn(data.warnings)
    if result["train_seconds"] is None:
        _warn([f"{args.folder}: its training is not finished; the record has no seconds of it"])
    record = args.folder / "result.json"
    if args.test_name:
        record, result["test_set"] = record.with_name(f"result-{args.test_name}.json"), args.test_name
    write_json(record, result)
    scores = " ".join(f"{NAMES[name]} {result[name]}" for name in metrics)
    print(f"{result['system']}: {scores} ({result[signature_key(metrics[0])]})")
    return 0


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _compare(args: argparse.Namespace) -> int:
    _check_options(args)

    import platform

    import sacrebleu
    from tabulate import tabulate_formats

    from .. import __version__
    from ..data.writing_systems import check_tokeniser
    from ..files import sha256
    from ..lines import read_lines
    from ..scoring import testsets
    from ..scoring.comparison import Data, compare, over_seeds
    from ..scoring.comparison_table import tables
    from ..scoring.metrics import of_words
    from ..scoring.systems import parse, read_training, read_translations
    from ..scoring.tokeniser import choose

    style = STYLES.get(args.style, args.style)
    if style != "json" and style not in tabulate_formats:
        raise UserError(f"--style {args.style}: expected markdown, json, or one of {', '.join(tabulate_formats)}")
    if args.tokenize is not None:  # before a test set is fetched
        check_tokeniser(args.tokenize)
    outputs = parse(args.systems)
    source = list(read_lines(args.source)) if args.source else []
    if args.test_set:
        source, references = testsets.load(args.test_set, args.language_pair)
        names = [f"{args.test_set} {args.language_pair}"] * len(references)
    else:
        references = [list(read_lines(path)) for path in args.references]
        names = [str(path) for path in args.references]
    _same_length(names, references, args.source if args.source else None, source)
    sentences = len(references[0])
    data = Data(
        references, outputs, [read_translations(o.path, sentences, args.format, args.remove_bpe) for o in outputs]
    )
    pair = tuple(args.language_pair.split("-", 1)) if args.language_pair else None
    language = _target(args)
    chosen = choose(references[0], language, args.tokenize)
    metrics = list(dict.fromkeys(args.metrics or (METRICS[:2] if chosen.unspaced else METRICS[:-1])))
    training = read_training(args.train, pair)
    allowed = (args.allow_tokenised, args.allow_empty, args.allow_overlap)
    data.check(names, training, *allowed, language=language, allow_unknown=args.allow_unknown)
    _warn([*chosen.warnings, *filter(None, [of_words(metrics, chosen)]), *data.warnings])

    comet = None
    if "comet" in metrics:
        from ..scoring.comet import MODEL, Comet

        comet = Comet(args.comet_model or MODEL)  # fails, if it does, before the slow tests
    of_sacrebleu = [name for name in metrics if name != "comet"]
    options = {"tokenize": chosen.tokenize, "lowercase": args.lowercase, "language": chosen.language}
    paired = (args.paired or "ar") if args.baseline else None
    test_set = (args.test_set, args.language_pair) if args.test_set else None
    result = compare(data, of_sacrebleu, options, args.baseline, paired, args.samples or 0, args.jobs, test_set)
    if comet:
        for row, lines in zip(result["systems"], data.translations, strict=True):
            row["comet"] = round(comet.score(source, lines, references[0]), 2)
        result["signatures"]["comet"] = comet.signature
    result["over_seeds"] = over_seeds(result["systems"], metrics)
    for row, output in zip(result["systems"], outputs, strict=True):
        row["sha256"] = sha256(output.path)
    result["references"] = [args.test_set] if args.test_set else names
    result["command"] = shlex.join(["lskd", *sys.argv[1:]])
    versions = {"python": platform.python_version(), "sacrebleu": sacrebleu.__version__}
    result["versions"] = versions | {"fairseq_lskd": __version__}
    if args.out:
        write_json(args.out, result)
    if style == "json":
        import json

        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        print(tables(result, style))
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Options that do not go together, all at once."""
    comet = "comet" in (args.metrics or ())
    of_run = _given(args, _OF_RUN)
    problems = [
        problem
        for wrong, problem in (
            (bool(of_run), f"{', '.join(of_run)} go with --run"),
            (not args.systems, "there is no file to score; name some, or a run with --run"),
            (bool(args.references) == bool(args.test_set), "give either --references or -t"),
            (args.paired is not None and not args.baseline, "--paired needs --baseline"),
            (args.samples is not None and not args.baseline, "--samples goes with --baseline"),
            (args.samples is not None and args.samples < 1, f"--samples {args.samples}: expected 1 or more"),
            (args.jobs < 1, f"--jobs {args.jobs}: expected 1 or more"),
            (comet and not (args.source or args.test_set), "--metrics comet needs --source"),
            (args.comet_model is not None and not comet, "--comet-model goes with --metrics comet"),
            (args.metrics == ["comet"] and bool(args.baseline), "--baseline tests sacreBLEU's metrics: name one"),
        )
        if wrong
    ] + _wrong_pair(args)
    if problems:
        raise UserError("; ".join(problems))


def _wrong_pair(args: argparse.Namespace) -> list[str]:
    source, _, target = (args.language_pair or "s-t").partition("-")
    return [] if source and target else [f"-l {args.language_pair}: expected S-T, as en-de"]


def _target(args: argparse.Namespace) -> str:
    return (args.language_pair or "").partition("-")[2]


def _same_length(names: list[str], references: list[list[str]], source_path: Path | None, source: list[str]) -> None:
    """Refuse test sets whose sides do not match."""
    sides = [*zip(names, references, strict=True), *([(str(source_path), source)] if source_path else [])]
    if others := [(name, lines) for name, lines in sides[1:] if len(lines) != len(sides[0][1])]:
        lengths = [f"{name} has {len(lines):,} lines" for name, lines in (sides[0], *others)]
        raise UserError(f"{', '.join(lengths)}: they must match line by line")
    if not references[0]:
        raise UserError(f"{names[0]}: there is no line to score")
