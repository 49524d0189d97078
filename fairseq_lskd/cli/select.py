"""Make sequence-level training data of a teacher's n-best translations.

NBEST is what `lskd translate` wrote, or a teacher's translations made elsewhere (--format). OUT gets train.SRC and
train.TGT, train.weights.npz with a weight for each line, report.md and report.json with what was dropped and why,
select.json, and data-bin, binarised for fairseq-train, if the student's dictionaries are given.

The weights of every source sentence sum to 1. docs/select.md explains the strategies.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import sha256
from ..names import PLAIN, is_plain
from ..reading import shown

if TYPE_CHECKING:
    from ..sequences.filters import Filter
    from ..sequences.report import Report
    from ..sequences.select import SelectionOptions
    from ..sequences.training_set import Student

MANIFEST = "select.json"
LOOKED_AT = 1000  # sentences, to see in which pieces they are
MUCH_UNKNOWN = 5  # per cent of a side's tokens
NEARLY_ALL = 0.8  # of the hypotheses: a filter that drops more is in the wrong place
#: Flags by the reasons that reports have.
FLAGS = {
    **{
        "unknown word": "--filter-unk",
        "too short to be one": "--filter-short",
        "length ratio": "--filter-length-ratio",
    },
    **{"unusual length": "--filter-usual-length", "script": "--filter-script", "numbers differ": "--filter-numbers"},
    **{"unbalanced brackets or quotes": "--filter-brackets", "copy of the source": "--filter-copies"},
    **{"repeated clause": "--filter-clauses", "repeated n-gram": "--filter-repeats", "language": "--filter-language"},
    **{"duplicate": "--dedup", "teacher score": "--filter-score-quantile", "score": "--filter-score"},
}
LEARNT = ("script", "unusual length")
#: What --preset turns on where it is not given. docs/select.md says how often each is wrong.
PRESETS = {
    "clean": {
        **{"filter_unk": True, "filter_short": True, "filter_numbers": True, "filter_brackets": True},
        **{"filter_clauses": True, "filter_repeats": (4, 2), "filter_copies": 0.8, "filter_script": 0.5},
        "filter_usual_length": 5.0,
    }
}

EXAMPLES = """examples:
  lskd select train.nbest.jsonl.gz -s de -t en --student-data data/mine/bin --out data/mine/1-best
  lskd select train.nbest.jsonl.gz -s de -t en --strategy nearest --references data/mine/raw/train.en \\
      --student-data data/mine/bin --out data/mine/nearest
  lskd select train.nbest.jsonl.gz -s de -t en --strategy n-best --score-temperature 0.1 --filter-length-ratio 3 \\
      --filter-copies 0.5 --filter-repeats 4,2 --student-data data/mine/bin --out data/mine/n-best
  lskd select samples.jsonl -s de -t en --strategy mbr --student-data data/mine/bin --out data/mine/mbr
  lskd select mono.jsonl -s de -t en --add data/mine/nearest --student-data data/mine/bin --out data/mine/mixed
  lskd select big-teacher.en --format text --source train.de -s de -t en --sentencepiece-source my/spm.model \\
      --sentencepiece-target my/spm.model --student-data data/mine/bin --out data/mine/foreign
then train with
  fairseq-train data/mine/1-best/data-bin --user-dir fairseq_lskd --criterion seq_kd \\
      --sequence-weights data/mine/1-best/train.weights.npz ...
"""


def _pair(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, Any]]:
    """Reads `A,B`."""

    def read(text: str) -> tuple[Any, Any]:
        first, comma, second = text.partition(",")
        try:
            if comma and first and second:
                return kind(first), kind(second)
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"expected two values with a comma between, found {text!r}")

    return read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..sequences.candidates import FORMATS
    from ..sequences.mbr import EVIDENCE
    from ..sequences.pieces import SCHEMES
    from ..sequences.select import METRICS, STRATEGIES

    parser.add_argument("translations", type=Path, metavar="NBEST", help="the teacher's translations, plain or .gz")
    parser.add_argument("-s", "--source-lang", required=True, metavar="LANG")
    parser.add_argument("-t", "--target-lang", required=True, metavar="LANG")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--references", type=Path, metavar="FILE", help="a line a source sentence, text or pieces")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")

    group = parser.add_argument_group("translations made elsewhere")
    group.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="json: as `lskd translate` writes it; text: --nbest lines a sentence; moses: ID ||| TEXT ||| FEATURES ||| "
        "SCORE; fairseq: what fairseq-generate printed (default: json)",
    )
    group.add_argument(
        "--source",
        type=Path,
        metavar="FILE",
        help="the source, a sentence a line; json has it: lists of other sentences or pieces are refused",
    )
    group.add_argument(
        "--allow-shifted",
        action="store_true",
        default=None,
        help="warn instead of refusing where translations or references look like those of other lines",
    )
    group.add_argument("--nbest", type=int, metavar="N", help="text: lines a sentence (default: 1)")
    group.add_argument(
        "--scores",
        type=Path,
        metavar="FILE",
        help="of every format, in place of the list's own: a number a line for each hypothesis, or a JSON array for "
        "each sentence",
    )
    group.add_argument(
        "--scores-lowest", action="store_true", default=None, help="the lowest of these is the best (MetricX)"
    )
    group.add_argument(
        "--remove-bpe",
        choices=SCHEMES,
        default=SCHEMES[0],
        help="the pieces of source, references and such translations, where they are in pieces (default: %(default)s)",
    )

    group = parser.add_argument_group("what the student learns from")
    group.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default=STRATEGIES[0],
        help="1-best; nearest: the hypothesis most like the reference; n-best: all, weighed by softmax(score / T); "
        "mbr: the one most like the others (minimum Bayes risk); mbr-n: the N of them (default: %(default)s)",
    )
    group.add_argument(
        "--metric", choices=METRICS, help="of nearest (default: sentence-bleu), and the utility of mbr (default: chrf)"
    )
    group.add_argument("--mbr-best", type=int, metavar="N", help="of mbr-n, weighed equally (default: 5)")
    group.add_argument(
        "--mbr-evidence",
        choices=EVIDENCE,
        help="what each of the others counts for: how often it is there, which is right for samples, or "
        "softmax(score / T), for a beam's list (default: counts)",
    )
    group.add_argument(
        "--mbr-aggregate",
        action="store_true",
        default=None,
        help="compare with all others at once, by mean counts of n-grams: faster, and nearly the same",
    )
    group.add_argument(
        "--score-temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="of n-best and --mbr-evidence scores. Scores are per token and lie close together, so that the default, "
        "%(default)s, weighs all of a sentence nearly alike; 0.05 prefers the better ones",
    )
    group.add_argument("--max-hypotheses", type=int, metavar="N", help="only the N best that pass the filters")
    group.add_argument(
        "--add-references",
        type=float,
        default=0.0,
        metavar="R",
        help="add each source once more with its reference, which has the share R of its weight; with 0.5, "
        "--reference-weight of seq_kd sets the share when training",
    )
    group.add_argument(
        "--replace-by-references",
        type=float,
        default=0.0,
        metavar="R",
        help="of a random share R of the sources, take the reference instead of translations",
    )
    group.add_argument(
        "--add",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="add the pairs of these folders, which this command made before, with their weights: text in the source "
        "language alone to a bitext, for one",
    )
    group.add_argument("--seed", type=int, default=1, metavar="S", help="of that share (default: %(default)s)")
    group.add_argument(
        "--on-empty",
        choices=("drop", "reference"),
        default="drop",
        help="a source without translations, or without any that pass the filters: leave it out, or take its reference "
        "(default: %(default)s)",
    )

    group = parser.add_argument_group("filters, of each hypothesis")
    group.add_argument(
        "--preset",
        choices=PRESETS,
        help="clean: all filters below from --filter-copies to --filter-unk but --filter-language, where they are not "
        "given, at limits that few good translations reach",
    )
    group.add_argument(
        "--filter-length-ratio",
        type=float,
        metavar="R",
        help="drop if one side has over R times the other's characters",
    )
    group.add_argument(
        "--filter-copies", type=float, metavar="P", help="drop if a share P of its words is in the source"
    )
    group.add_argument(
        "--filter-repeats",
        type=_pair(int),
        metavar="N,COUNT",
        help="drop if an N-gram of words occurs COUNT times more often than any in the source",
    )
    group.add_argument(
        "--filter-language",
        type=_pair(str),
        metavar="SRC,TGT",
        help="drop if py3langid is sure that a side is in another language than this (de,en)",
    )
    for name, what in (
        ("numbers", "drop if a number of two or more digits stands on one side only"),
        ("brackets", "drop if it leaves brackets or quotes open, and the source does not"),
        ("clauses", "drop if it says a clause again, and more often than the source does"),
        ("short", "drop if it has no letter or digit, or a single one for a source of ten"),
    ):
        # None: left out of the record where it is not given, as it is of older ones.
        group.add_argument(f"--filter-{name}", action="store_true", default=None, help=what)
    group.add_argument(
        "--filter-script",
        type=float,
        metavar="P",
        help="drop if under a share P of its letters is in the script that most translations are in",
    )
    group.add_argument(
        "--filter-usual-length",
        type=float,
        metavar="Z",
        help="drop if its length is Z standard deviations from what is usual for its source's",
    )
    group.add_argument("--filter-score", type=float, metavar="X", help="drop if its score is worse than X")
    group.add_argument(
        "--filter-score-quantile",
        type=float,
        metavar="Q",
        help="drop the share Q of sources with the lowest best score",
    )
    group.add_argument(
        "--filter-unk",
        action="store_true",
        default=None,  # left out of the record where it is not given, as it is of older ones
        help="drop if it has an unknown word: <unk>, <<unk>> or \u2047",
    )
    group.add_argument("--dedup", action="store_true", help="drop a hypothesis with the text of a better one")

    group = parser.add_argument_group("the student's form")
    group.add_argument(
        "--sentencepiece-source",
        type=Path,
        metavar="MODEL",
        help="write the source in these pieces (default: as it is)",
    )
    group.add_argument(
        "--sentencepiece-target", type=Path, metavar="MODEL", help="write targets in these (default: the teacher's)"
    )
    group.add_argument(
        "--student-data",
        type=Path,
        metavar="DIR",
        help="binarise with the dictionaries of this binarised data, and copy its valid and test sets",
    )
    group.add_argument("--srcdict", type=Path, metavar="FILE", help="binarise with this dictionary")
    group.add_argument("--tgtdict", type=Path, metavar="FILE", help="and this one")
    group.add_argument("--validpref", metavar="PREFIX", help="and binarise PREFIX.{SRC,TGT} as the validation set")


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..data.outputs import Manifest
    from ..records.derive import translators
    from ..sequences.candidates import Candidates
    from ..sequences.content_filters import SAMPLE
    from ..sequences.report import Report
    from ..sequences.select import USUAL_METRIC, Selector, least_score, select
    from ..sequences.training_set import Selected, binarise, check_vocabulary, write_pairs

    _check(args)
    # Recorded as it was before there was a choice.
    args.metric = args.metric or USUAL_METRIC.get(args.strategy, "sentence-bleu")
    for name, value in PRESETS.get(args.preset, {}).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    selection = _selection(args)
    selector = Selector(selection)
    signature = selector.signature  # and its mistakes come before the work
    if args.strategy in USUAL_METRIC and selection.metric == "sentence-bleu":
        from ..data.writing_systems import available_tokeniser

        if missing := available_tokeniser(args.target_lang)[1]:
            print(f"warning: {missing.partition(';')[0]}", file=sys.stderr)
    student = _student(args)
    candidates = Candidates(
        args.translations,
        args.format,
        args.source,
        args.nbest or 1,
        args.scores,
        args.references,
        args.remove_bpe,
        bool(args.scores_lowest),
    )
    made_by = candidates.made_by()
    files = student.inputs() if student else {}
    files |= {"--sentencepiece-source": args.sentencepiece_source, "--sentencepiece-target": args.sentencepiece_target}
    added = [Selected(folder, (args.source_lang, args.target_lang)) for folder in args.add]
    for other in added:
        other.check()
        files |= other.files()
    here = {"translations", "add", "out", "workers", "subcommand", "run", "allow_shifted", "preset"}
    options = {
        name.replace("_", "-"): value
        for name, value in vars(args).items()
        if not (name in here or value is None or isinstance(value, Path))
    }
    inputs = candidates.digests | {name: sha256(path) for name, path in files.items() if path}
    manifest = Manifest(MANIFEST, options, inputs, ("sacrebleu", "sentencepiece"))
    if manifest.is_up_to_date(args.out):
        print(f"{args.out}: up to date", file=sys.stderr)
        return 0

    if shifted := "; ".join(candidates.out_of_step()):
        if not args.allow_shifted:
            raise UserError(f"{shifted}. Put the line back, or make the file again; --allow-shifted lets it pass")
        print(f"warning: {shifted}", file=sys.stderr)

    def read(doing: str) -> Iterable[dict[str, Any]]:
        total = candidates.sentences
        return tqdm(candidates.read(), doing, total, unit=" sentences", unit_scale=True, delay=2, disable=None)

    if student:
        sample = itertools.islice(candidates.read(), LOOKED_AT)
        check_vocabulary(map(selector.pieces, sample), student, str(args.translations))
        for other in added:
            lines = ((source, [target]) for source, target in itertools.islice(other.pairs(), LOOKED_AT))
            check_vocabulary(lines, student, f"--add {other.folder}")
    if args.filter_script or args.filter_usual_length:
        filters = _filters(args, _best(itertools.islice(candidates.read(), SAMPLE), args.remove_bpe))
        selection = replace(selection, filters=filters)
    report = Report(signature)
    with manifest.written(args.out) as (folder, facts):
        if args.filter_score_quantile:
            least = least_score(read("scores"), args.filter_score_quantile)
            selection = replace(selection, least_score=least)
        items = zip(read("selection"), candidates.read_references(), strict=True)
        outcomes = select(items, selection, args.workers)
        more = write_pairs(folder, args.source_lang, args.target_lang, outcomes, report, added)
        candidates.check_unchanged()
        # Known only now, and in time: what was written is removed.
        if args.strategy != "1-best" and report.most < 2:
            raise UserError(
                f"--strategy {args.strategy}: {args.translations} has no sentence with more than one translation, so "
                "that there is nothing to choose from: translate with --nbest 5, or take --strategy 1-best"
            )
        _warn_of_filters(report)
        facts["pairs"] = dict(report.pairs)
        if learnt := {each.name: vars(each) for each in selection.filters if each.name in LEARNT}:
            facts["learnt"] = learnt
        if added:
            facts["added"] = {"pairs": more, "teachers": sorted(set().union(*(translators(d) for d in args.add)))}
        facts["translations"] = made_by
        if student:
            print(f"binarising {report.pairs.total() + sum(more.values()):,} pairs", file=sys.stderr)
            facts["unknown"] = binarise(folder, student, args.workers)
            _warn_of_unknown(facts["unknown"])
    print(report.tables())
    return 0


def _check(args: argparse.Namespace) -> None:
    """Options that do not go together, all at once."""
    foreign, text = args.format != "json", args.format == "text"
    pieces = args.add_references or args.replace_by_references or args.on_empty == "reference"
    quantile = args.filter_score_quantile
    scored = args.strategy == "n-best" or quantile or args.mbr_evidence == "scores" or args.filter_score is not None
    risk = args.strategy in ("mbr", "mbr-n")
    dictionaries = args.srcdict, args.tgtdict
    problems = [
        problem
        for wrong, problem in (
            (foreign and not args.source, f"--format {args.format} needs --source, which gives the source sentences"),
            (args.nbest and not text, "--nbest goes with --format text"),
            (args.scores_lowest and not args.scores, "--scores-lowest goes with --scores"),
            (args.nbest is not None and args.nbest < 1, f"--nbest {args.nbest}: expected 1 or more"),
            (
                text and scored and not args.scores,
                "--strategy n-best, --mbr-evidence scores, --filter-score and --filter-score-quantile go by scores: "
                "give --scores",
            ),
            (
                (args.strategy == "nearest" or pieces) and not args.references,
                "--references is missing, which --strategy nearest, --add-references, --replace-by-references and "
                "--on-empty reference need",
            ),
            (
                quantile is not None and not 0 < quantile < 1,
                f"--filter-score-quantile {quantile}: expected above 0, below 1",
            ),
            (
                bool(args.mbr_evidence or args.mbr_aggregate) and not risk,
                f"--mbr-evidence and --mbr-aggregate go with --strategy mbr and mbr-n, found {args.strategy}",
            ),
            (
                args.mbr_best is not None and args.strategy != "mbr-n",
                f"--mbr-best goes with --strategy mbr-n, found {args.strategy}",
            ),
            (args.workers < 1, f"--workers {args.workers}: expected 1 or more"),
            *(
                (not is_plain(language), f"{flag} {shown(language)}: expected {PLAIN.words}")
                for flag, language in (("-s", args.source_lang), ("-t", args.target_lang))
            ),
            (args.source_lang == args.target_lang, f"-s and -t are both {args.source_lang}: expected two languages"),
            (any(dictionaries) and not all(dictionaries), "--srcdict and --tgtdict go together"),
            (args.validpref and not any(dictionaries), "--validpref goes with --srcdict and --tgtdict"),
            (
                args.student_data and any(dictionaries),
                "--student-data has dictionaries: leave out --srcdict and --tgtdict",
            ),
        )
        if wrong
    ]
    if problems:
        raise UserError("; ".join(problems))


def _selection(args: argparse.Namespace) -> SelectionOptions:
    from ..sequences.mbr import EVIDENCE
    from ..sequences.select import SelectionOptions

    return SelectionOptions(
        strategy=args.strategy,
        metric=args.metric,
        target_lang=args.target_lang,
        score_temperature=args.score_temperature,
        mbr_best=5 if args.mbr_best is None else args.mbr_best,
        mbr_evidence=args.mbr_evidence or EVIDENCE[0],
        mbr_aggregate=bool(args.mbr_aggregate),
        max_hypotheses=args.max_hypotheses,
        add_references=args.add_references,
        replace_by_references=args.replace_by_references,
        seed=args.seed,
        on_empty=args.on_empty,
        filters=_filters(args),
        worst_score=_worst(args),
        dedup=args.dedup,
        remove_bpe=args.remove_bpe,
        sentencepiece_source=args.sentencepiece_source,
        sentencepiece_target=args.sentencepiece_target,
    )


def _worst(args: argparse.Namespace) -> float:
    """The least score that is let through, as scores are compared: the highest is the best."""
    if args.filter_score is None:
        return -math.inf
    if not math.isfinite(args.filter_score):
        raise UserError(f"--filter-score {args.filter_score}: expected a finite number")
    return -args.filter_score if args.scores_lowest else args.filter_score


def _filters(args: argparse.Namespace, sample: Sequence[tuple[str, str]] = ()) -> tuple[Filter, ...]:
    """Those that were asked for; `sample`: sources and best translations, of which some of them learn."""
    from ..sequences import content_filters as content
    from ..sequences.filters import Copies, Language, LengthRatio, Repeats, Unknown

    def given(value: Any) -> tuple[Any, ...] | None:
        """What a filter is made with; None where it is not asked for."""
        if value is None or value is True:
            return () if value else None
        return value if isinstance(value, tuple) else (value,)

    asked: tuple[tuple[Callable[..., Filter], Any], ...] = (
        (Unknown, args.filter_unk),
        (content.Short, args.filter_short),
        (LengthRatio, args.filter_length_ratio),
        (lambda limit: content.UsualLength.learnt(limit, sample), args.filter_usual_length),
        (lambda share: content.Script.learnt(share, sample), args.filter_script),
        (content.Numbers, args.filter_numbers),
        (content.Brackets, args.filter_brackets),
        (Copies, args.filter_copies),
        (content.Clauses, args.filter_clauses),
        (Repeats, args.filter_repeats),
        (Language, args.filter_language),  # the slowest last
    )
    return tuple(kind(*at) for kind, value in asked if (at := given(value)) is not None)


def _best(records: Iterable[dict[str, Any]], scheme: str) -> list[tuple[str, str]]:
    """Each source with its best translation, as text."""
    from ..sequences.pieces import to_text

    return [
        (to_text(record["source"], scheme), max(record["hypotheses"], key=lambda each: each["score"])["text"])
        for record in records
        if record["hypotheses"]
    ]


def _warn_of_filters(report: Report) -> None:
    """Name a filter that drops nearly all: it is meant for other languages or text, or its limit is wrong."""
    for reason, dropped in report.dropped.items():
        if dropped.hypotheses > NEARLY_ALL * report.hypotheses["read"]:
            share = dropped.hypotheses / report.hypotheses["read"]
            print(
                f"warning: {FLAGS.get(reason, reason)} dropped {share:.0%} of the hypotheses ({reason}): is it right "
                "for these languages? report.md has examples",
                file=sys.stderr,
            )


def _student(args: argparse.Namespace) -> Student | None:
    from ..sequences.training_set import Student

    if args.student_data:
        return Student.of(args.student_data, args.source_lang, args.target_lang)
    if args.srcdict:
        return Student(args.source_lang, args.target_lang, args.srcdict, args.tgtdict, args.validpref)
    return None


def _warn_of_unknown(unknown: dict[str, float]) -> None:
    for language, percentage in unknown.items():
        if percentage > MUCH_UNKNOWN:
            print(
                f"warning: the dictionary lacks {percentage:.0f} % of the tokens of train.{language}; "
                "if they are text or other pieces, give --sentencepiece-source and --sentencepiece-target",
                file=sys.stderr,
            )
