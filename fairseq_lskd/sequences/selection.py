"""Build a student's training set from a teacher's translations: what `lskd select` does, from files to a folder."""

from __future__ import annotations

import itertools
import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data.degenerate import Sampled
from ..data.dictionary import read_dictionary
from ..data.outputs import Manifest
from ..data.writing_systems import available_tokeniser
from ..errors import UserError
from ..files import sha256
from ..names import PLAIN, is_plain
from ..reading import shown, value_at
from .candidates import Candidates
from .content_filters import SAMPLE
from .filter_options import FLAGS, LEARNT, FilterOptions
from .manifest import MANIFEST, translators
from .mbr import EVIDENCE
from .outside_utilities import FLAG as UTILITIES_FLAG
from .outside_utilities import attach
from .pieces import to_text
from .report import Report
from .score_filters import check_scores, learn, make_filters, mark
from .segmentation import check_pieces
from .select import BY_RISK, USUAL_METRIC, SelectionOptions, Selector, least_score, select
from .training_set import Selected, Shares, Student, binarise, check_vocabulary, write_pairs
from .valid_translations import SPLIT, VALID_FLAG, ValidTranslations

VOCABULARY_SAMPLE = 1000  # sentences whose pieces are compared with the student's dictionaries
MAX_UNKNOWN = 5  # per cent of a side's tokens, above which a warning is printed
MAX_UNKNOWN_OTHER = 0.1  # the same, if the teacher's dictionary is not the student's
REFERENCES_IN_PIECES = (
    "Give --references in the student's pieces, such as the file that fairseq-preprocess binarised; or, if these are "
    "SentencePiece's, --sentencepiece-target"
)
#: How reports name a metric.
SHOWN = {"sentence-bleu": "sentence BLEU", "chrf": "chrF"}
MANY = 0.1  #: share of the source sentences; if more have no target, a warning says so
NEARLY_ALL = 0.8  # share of the hypotheses; a filter that drops more has the wrong limit, or is for other languages
#: Options that do not change what is written, or are recorded in another form.
UNRECORDED = {"translations", "more", "add", "out", "workers", "allow_shifted", "preset", "filters"} | {
    "filter_worst",
    "filter_below",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `lskd select`, in the names of its flags; `lskd select --help` describes them.

    None stands for a flag that was not given, and is not recorded in the manifest.
    """

    translations: Path
    more: tuple[Path, ...] = ()  #: further n-best lists of the same sentences, whose hypotheses are added
    source_lang: str
    target_lang: str
    out: Path
    references: Path | None = None
    workers: int = 1
    format: str = "json"
    source: Path | None = None
    allow_shifted: bool | None = None
    nbest: int | None = None
    scores: Path | None = None
    scores_lowest: bool | None = None
    remove_bpe: str = "sentencepiece"
    strategy: str = "1-best"
    metric: str | None = None
    mbr_best: int | None = None
    mbr_evidence: str | None = None
    mbr_aggregate: bool | None = None
    utilities: Path | None = None
    score_temperature: float = 1.0
    max_hypotheses: int | None = None
    add_references: float = 0.0
    replace_by_references: float = 0.0
    add: tuple[Path, ...] = ()
    shares: tuple[float, ...] | None = None
    share_by: str | None = None
    tag: str | None = None
    seed: int = 1
    on_empty: str = "drop"
    preset: str | None = None
    filters: FilterOptions = field(default_factory=FilterOptions)
    filter_score: float | None = None
    filter_score_quantile: float | None = None
    filter_worst: tuple[tuple[Path, float], ...] = ()
    filter_below: tuple[tuple[Path, float], ...] = ()
    dedup: bool = False
    sentencepiece_source: Path | None = None
    sentencepiece_target: Path | None = None
    student_data: Path | None = None
    srcdict: Path | None = None
    tgtdict: Path | None = None
    validpref: str | None = None
    valid_translations: Path | None = None

    def recorded(self) -> dict[str, Any]:
        """Return the options that the manifest records. Files are recorded by their digests instead."""
        values = {**vars(self), **vars(self.filters)}
        return {
            name.replace("_", "-"): value
            for name, value in values.items()
            if not (name in UNRECORDED or value is None or isinstance(value, Path))
        }


def build_training_set(request: Request) -> Report | None:
    """Select from the translations and write the student's training set to `request.out`.

    Returns:
        What was kept and dropped; None if the folder is up to date.

    Raises:
        UserError: for options that do not go together, files that do not fit each other, and an empty selection.
            `request.out` is then as it was before.
    """
    _check(request)
    implied = () if request.metric else ("metric",)  # by the strategy
    # The metric was recorded before it depended on the strategy.
    metric = None if request.utilities else request.metric or USUAL_METRIC.get(request.strategy, "sentence-bleu")
    request = replace(request, metric=metric, filters=request.filters.with_preset(request.preset))
    selection = _selection(request)
    selector = Selector(selection)
    by_bleu = request.strategy in USUAL_METRIC and metric == "sentence-bleu"
    if by_bleu and (missing := available_tokeniser(request.target_lang)[1]):
        _warn(missing.partition(";")[0])
    student = _student(request)
    valid = None
    if student and request.valid_translations:
        valid = ValidTranslations(request.valid_translations, student, request.remove_bpe)
    added = [Selected(folder, (request.source_lang, request.target_lang)) for folder in request.add]
    candidates = Candidates(
        path=request.translations,
        format=request.format,
        source=request.source,
        nbest=request.nbest or 1,
        scores=request.scores,
        references=request.references,
        remove_bpe=request.remove_bpe,
        negate=bool(request.scores_lowest),
        more=request.more,
    )
    made_by, *more_made_by = candidates.made_by
    for path, made in zip((request.translations, *request.more), candidates.made_by, strict=True):
        _check_direction(path, made, request)
    score_filters = make_filters(request.filter_worst, request.filter_below, candidates)
    scored_by = check_scores("--scores", request.scores, candidates) if request.scores else None
    manifest = Manifest(
        MANIFEST,
        request.recorded(),
        candidates.digests
        | _digests(request, student, added)
        | {f"{each.flag} {each.path.name} {each.limit:g}": sha256(each.path) for each in score_filters},
        ("sacrebleu", "sentencepiece"),
        implied=implied,
    )
    if manifest.is_up_to_date(request.out):
        return None
    if valid:
        valid.check()
    shares = Shares(request.shares, request.share_by or "sentences") if request.shares else None
    _check_contents(request, candidates, selector, student, added, shares)
    if request.filters.learns:
        sample = _best(itertools.islice(candidates.read(), SAMPLE), request.remove_bpe)
        selection = replace(selection, filters=request.filters.make(sample))
    report = Report(f"{SHOWN[metric]}: {selector.signature}" if metric and selector.signature else None)
    with manifest.written(request.out) as (folder, facts):
        if request.filter_score_quantile:
            least = least_score(_progress(candidates, "scores"), request.filter_score_quantile)
            selection = replace(selection, least_score=least)
        best = Sampled()
        records = _looked_at(_progress(candidates, "selection"), best, request.translations)
        if request.utilities:
            records = attach(records, request.utilities)
        if score_filters:
            score_filters = learn(score_filters, _progress(candidates, "scores to filter by"))
            records = mark(records, score_filters)
        items = zip(records, candidates.read_references(), strict=True)
        outcomes = select(items, selection, request.workers)
        languages = (request.source_lang, request.target_lang)
        added_pairs = write_pairs(folder, *languages, outcomes, report, added, tag=request.tag, shares=shares)
        candidates.check_unchanged()
        _check_report(report, selection, request)
        for warning in best.warnings(str(request.translations)):
            _warn(f"{warning}. A student learns little from them")
        facts["pairs"] = dict(report.pairs)
        if learnt := {each.name: vars(each) for each in selection.filters if each.name in LEARNT}:
            facts["learnt"] = learnt
        if added:
            facts["added"] = {"pairs": added_pairs, "teachers": sorted(set().union(*map(translators, request.add)))}
        facts["translations"] = made_by
        if request.more:
            facts["more_translations"] = more_made_by
        if scored_by:
            facts["scores"] = scored_by
        if score_filters:
            facts["thresholds"] = {each.reason: each.least for each in score_filters}
        if student:
            _print_pairs(report, added_pairs)
            facts["unknown"] = binarise(folder, student, request.workers)
            _warn_of_unknown(facts["unknown"], _is_in_other_pieces(made_by, student, request))
        if valid:
            facts[SPLIT] = valid.write(folder, selection, request.workers)
            print(
                f"{SPLIT}: {facts[SPLIT]['sentences']:,} translations of the validation sources. fairseq-train needs "
                f"--valid-subset {SPLIT},valid --ignore-unused-valid-subsets; the first set picks the best checkpoint",
                file=sys.stderr,
            )
    return report


def _check(request: Request) -> None:
    """Raise a `UserError` that lists all options that do not go together."""
    text = request.format == "text"
    dictionaries = request.srcdict, request.tgtdict
    quantile = request.filter_score_quantile
    needs_scores = (
        request.strategy == "n-best" or quantile or request.mbr_evidence == "scores" or request.filter_score is not None
    )
    needs_references = (
        request.strategy == "nearest"
        or request.add_references
        or request.replace_by_references
        or request.on_empty == "reference"
    )
    languages = (("-s", request.source_lang), ("-t", request.target_lang))
    swapped = request.target_lang, request.source_lang
    problems = [
        problem
        for wrong, problem in (
            (
                request.format != "json" and not request.source,
                f"--format {request.format} needs --source, the file with the source sentences",
            ),
            (
                request.more and request.format != "json",
                f"several NBEST files need --format json, found --format {request.format}",
            ),
            (request.nbest and not text, f"--nbest needs --format text, found --format {request.format}"),
            (request.scores_lowest and not request.scores, "--scores-lowest needs --scores"),
            (request.nbest is not None and request.nbest < 1, f"--nbest {request.nbest}: expected 1 or more"),
            (
                text and needs_scores and not request.scores,
                "--strategy n-best, --mbr-evidence scores, --filter-score and --filter-score-quantile need scores, "
                "which --format text lacks: give --scores",
            ),
            (
                needs_references and not request.references,
                "--references is missing: --strategy nearest, --add-references, --replace-by-references and "
                "--on-empty reference need it",
            ),
            (
                request.filters.filter_language == swapped,
                f"--filter-language {','.join(swapped)}: expected {','.join(swapped[::-1])}, in the order of -s and -t",
            ),
            (
                quantile is not None and not 0 < quantile < 1,
                f"--filter-score-quantile {quantile}: expected a number above 0 and below 1",
            ),
            (
                request.filter_score is not None and not math.isfinite(request.filter_score),
                f"--filter-score {request.filter_score}: expected a finite number",
            ),
            (
                bool(request.mbr_evidence or request.mbr_aggregate) and request.strategy not in BY_RISK,
                f"--mbr-evidence and --mbr-aggregate need --strategy mbr or mbr-n, found --strategy {request.strategy}",
            ),
            (
                request.utilities is not None and request.strategy not in BY_RISK,
                f"{UTILITIES_FLAG} needs --strategy mbr or mbr-n, found --strategy {request.strategy}",
            ),
            (
                request.utilities is not None and bool(request.metric or request.mbr_aggregate),
                f"{UTILITIES_FLAG} has the utilities: leave out --metric and --mbr-aggregate",
            ),
            (
                request.mbr_best is not None and request.strategy != "mbr-n",
                f"--mbr-best needs --strategy mbr-n, found --strategy {request.strategy}",
            ),
            (
                request.score_temperature != 1 and request.strategy != "n-best" and request.mbr_evidence != "scores",
                f"--score-temperature {request.score_temperature:g} needs --strategy n-best or --mbr-evidence scores, "
                f"found --strategy {request.strategy}",
            ),
            (
                bool(request.shares) and not request.add,
                "--shares needs --add: there is one set of pairs only",
            ),
            (bool(request.share_by) and not request.shares, "--share-by needs --shares"),
            (
                request.tag is not None and request.tag.split() != [request.tag],
                f"--tag {request.tag!r}: expected one piece, without spaces",
            ),
            (request.workers < 1, f"--workers {request.workers}: expected 1 or more"),
            *(
                (not is_plain(language), f"{flag} {shown(language)}: expected {PLAIN.words}")
                for flag, language in languages
            ),
            (
                request.source_lang == request.target_lang,
                f"-s and -t are both {request.source_lang}: expected two languages",
            ),
            (any(dictionaries) and not all(dictionaries), "give --srcdict and --tgtdict together"),
            (request.validpref and not any(dictionaries), "--validpref needs --srcdict and --tgtdict"),
            (
                request.valid_translations and not (request.student_data or request.validpref),
                f"{VALID_FLAG} needs a validation set with references: give --student-data, or --validpref",
            ),
            (
                request.student_data and any(dictionaries),
                "--student-data has dictionaries of its own: leave out --srcdict and --tgtdict",
            ),
        )
        if wrong
    ]
    if problems:
        raise UserError("; ".join(problems))


def _selection(request: Request) -> SelectionOptions:
    """Translate the request into the options of a `Selector`. Filters that learn have no sample yet."""
    worst = -math.inf
    if request.filter_score is not None:
        worst = -request.filter_score if request.scores_lowest else request.filter_score
    own: dict[str, Any] = {
        "mbr_best": 5 if request.mbr_best is None else request.mbr_best,
        "mbr_evidence": request.mbr_evidence or EVIDENCE[0],
        "mbr_aggregate": bool(request.mbr_aggregate),
        "outside": request.utilities is not None,
        "filters": request.filters.make(),
        "worst_score": worst,
    }
    same = {f.name for f in fields(SelectionOptions)} & {f.name for f in fields(Request)} - own.keys()
    return SelectionOptions(**own, **{name: getattr(request, name) for name in same})


def _student(request: Request) -> Student | None:
    if request.student_data:
        return Student.of(request.student_data, request.source_lang, request.target_lang)
    if request.srcdict and request.tgtdict:
        return Student(request.source_lang, request.target_lang, request.srcdict, request.tgtdict, request.validpref)
    return None


def _digests(request: Request, student: Student | None, added: Iterable[Selected]) -> dict[str, str]:
    """Return the digests of all input files but the candidates', by flag or name."""
    files: dict[str, Path | None] = dict(student.inputs()) if student else {}
    files["--sentencepiece-source"] = request.sentencepiece_source
    files["--sentencepiece-target"] = request.sentencepiece_target
    files[VALID_FLAG] = request.valid_translations
    files[UTILITIES_FLAG] = request.utilities
    for each in added:
        each.check()
        files |= each.files()
    return {name: sha256(path) for name, path in files.items() if path}


def _check_contents(
    request: Request,
    candidates: Candidates,
    selector: Selector,
    student: Student | None,
    added: Sequence[Selected],
    shares: Shares | None,
) -> None:
    """Raise a `UserError` if the files do not fit each other, before anything is written."""
    candidates.check_text()
    candidates.check_references()
    _check_alignment(candidates, bool(request.allow_shifted))
    if shares:
        shares.check(1 + len(added))
    if student:
        _check_tag(request.tag, student)
        _check_vocabularies(candidates, selector, student, added)


def _check_alignment(candidates: Candidates, allow_shifted: bool) -> None:
    if shifted := "; ".join(candidates.out_of_step()):
        if not allow_shifted:
            raise UserError(
                f"{shifted}. Restore the missing line or create the file again; --allow-shifted turns this into a "
                "warning"
            )
        _warn(shifted)


def _looked_at(records: Iterable[dict[str, Any]], best: Sampled, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records, and add the best translation of each to `best`. Raise a `UserError` if all are empty."""
    for record in records:
        if hypotheses := record["hypotheses"]:
            first = max(hypotheses, key=lambda each: each["score"])
            best.add(record["id"] + 1, record["source"], first["text"])
        yield record
    if best.all_empty:
        raise UserError(
            f"{path}: the best translation of each of {best.count:,} sentences is empty, so a student can learn "
            "nothing from them. Check the teacher, and the options of its translation (--target-prefix, "
            "--sentencepiece)"
        )


def _check_direction(path: Path, made_by: Any, request: Request) -> None:
    """Raise a `UserError` if a list has translations in the other direction."""
    pair = value_at(made_by, "translates")
    if pair == f"{request.target_lang}-{request.source_lang}":
        raise UserError(
            f"{path}: its teacher translates {pair}, expected {request.source_lang}-{request.target_lang} (-s, -t). "
            "Translate the other side of the corpus with a teacher of this direction"
        )


def _is_in_other_pieces(made_by: Any, student: Student, request: Request) -> bool:
    """Return whether the teacher's dictionaries are not the student's, and the text is not split into pieces again."""
    theirs = value_at(made_by, "run", "dictionaries")
    ours = {sha256(student.srcdict), sha256(student.tgtdict)}
    given = request.sentencepiece_source or request.sentencepiece_target
    return isinstance(theirs, list) and not given and ours.isdisjoint(map(str, theirs))


def _check_tag(tag: str | None, student: Student) -> None:
    if tag is not None and tag not in read_dictionary(student.srcdict):
        raise UserError(
            f"--tag {tag}: not in the student's dictionary {student.srcdict}, so it would become <unk>. Train the "
            f"vocabulary with lskd encode --symbols {shlex.quote(tag)}"
        )


def _check_vocabularies(
    candidates: Candidates, selector: Selector, student: Student, added: Iterable[Selected]
) -> None:
    """Compare the pieces of the first sentences with the student's dictionaries, before the work begins."""
    sample = itertools.islice(candidates.read(), VOCABULARY_SAMPLE)
    check_vocabulary(map(selector.pieces, sample), student, str(candidates.path), candidates.source_name)
    if selector.options.writes_references:
        references = itertools.islice(candidates.read_references(), VOCABULARY_SAMPLE)
        check_pieces(
            (selector.reference_pieces(line).split() for line in references if line),
            read_dictionary(student.tgtdict).keys(),
            f"--references {candidates.references}",
            f"the student's dictionary {student.tgtdict}",
            REFERENCES_IN_PIECES,
        )
    for each in added:
        lines = ((source, [target]) for source, target in itertools.islice(each.pairs(), VOCABULARY_SAMPLE))
        check_vocabulary(lines, student, f"--add {each.folder}")


def _best(records: Iterable[dict[str, Any]], scheme: str) -> list[tuple[str, str]]:
    """Return each source with its best translation, as text."""
    return [
        (to_text(record["source"], scheme), max(record["hypotheses"], key=lambda each: each["score"])["text"])
        for record in records
        if record["hypotheses"]
    ]


def _progress(candidates: Candidates, title: str) -> Iterable[dict[str, Any]]:
    total = candidates.sentences
    return tqdm(candidates.read(), title, total, unit=" sentences", unit_scale=True, delay=2, disable=None)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _check_report(report: Report, selection: SelectionOptions, request: Request) -> None:
    """Check what can only be checked after reading all. A `UserError` removes the files that were written."""
    if request.strategy != "1-best" and report.most < 2:
        raise UserError(
            f"--strategy {request.strategy}: no sentence of {request.translations} has more than one translation. "
            "Translate with --nbest 5, or use --strategy 1-best"
        )
    if request.strategy == "mbr-n" and report.most <= selection.mbr_best:
        _warn(
            f"--mbr-best {selection.mbr_best} has no effect: no sentence has more than {report.most} translations, so "
            "all are written with equal weights. Give a smaller --mbr-best, or more samples (lskd translate --sampling)"
        )
    _warn_of_filters(report, bool(request.references))


def _print_pairs(report: Report, added: Mapping[str, int]) -> None:
    """Print how many pairs are binarised, and of which training sets if there are others."""
    counts = {"selected": report.pairs.total()} | {f"of {name}": pairs for name, pairs in added.items()}
    parts = f": {', '.join(f'{pairs:,} {name}' for name, pairs in counts.items())}" if added else ""
    print(f"binarising {sum(counts.values()):,} pairs{parts}", file=sys.stderr)


def _warn_of_filters(report: Report, has_references: bool) -> None:
    """Name each filter that dropped nearly all hypotheses, and say if many sentences have no target left."""
    read, sentences = report.hypotheses["read"], report.sentences
    if sentences["dropped"] > MANY * sentences["read"]:
        _warn(
            f"{sentences['dropped']:,} of {sentences['read']:,} source sentences have no target and are not written. "
            "report.md shows which filters dropped their translations, with examples"
            + "; --on-empty reference uses the references instead"
            * has_references
        )
    for reason, dropped in report.dropped.items():
        if dropped.hypotheses > NEARLY_ALL * read:
            _warn(
                f"{FLAGS.get(reason, reason)} dropped {dropped.hypotheses / read:.0%} of the hypotheses ({reason}). "
                "Check that it suits these languages; report.md shows examples"
            )


def _warn_of_unknown(unknown: dict[str, float], other_pieces: bool) -> None:
    for language, percentage in unknown.items():
        if percentage > (MAX_UNKNOWN_OTHER if other_pieces else MAX_UNKNOWN):
            digits = 0 if percentage > MAX_UNKNOWN else 1
            other = "the teacher's dictionary is not the student's, and " if other_pieces else ""
            _warn(
                f"{other}{percentage:.{digits}f} % of the tokens of train.{language} are not in the student's "
                "dictionary. If they are text or other pieces, give --sentencepiece-source and "
                "--sentencepiece-target, or, for subword-nmt, translations and references in the student's pieces"
            )
