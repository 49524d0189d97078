"""Score the pairs of an n-best list or a bitext with a model, as `lskd rescore` does."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import sha256
from ..progress import Progress
from ..reading import COUNT, NUMBER, value_at
from .candidates import Candidates
from .decoding import RECORDED, Settings
from .loading import ModelRequest, load, versions
from .nbest import EMPTY, TOO_LONG
from .pair_scores import UNSCORED, OtherSources, PairScorer, Sides
from .resumable import ResumableFile
from .segmentation import check_pieces, splitter

#: Number of sentences for checking the pieces, and for choosing the other sources of a contrast.
SAMPLE = 1000
DOUBTFUL = 0.05  #: share of unknown tokens that gives a warning; in the right pieces it is at most a few per cent
#: The shape of the state in a journal.
STATE = {"settings": RECORDED, "seconds": NUMBER, "counts": {str: COUNT}, "sum": NUMBER}
#: Options of the model and of its engine that identify a run.
RECORDED_OPTIONS = (
    *("source_prefix", "source_suffix", "target_prefix", "max_source_positions", "max_target_positions", "window"),
    *("device", "compute_type", "threads", "workers", "max_tokens", "remove_bpe", "format", "nbest"),
)


@dataclass(frozen=True, kw_only=True)
class Request(ModelRequest):
    """The options of `lskd rescore`, described by its `--help`."""

    pairs: Path
    more: tuple[Path, ...] = ()
    format: str = "json"
    source: Path | None = None
    nbest: int = 1
    remove_bpe: str = "sentencepiece"
    backward: bool = False
    sum: bool = False
    contrast: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = [
            problem
            for wrong, problem in (
                (
                    self.format != "json" and self.source is None,
                    f"--format {self.format} needs --source, the file with the source sentences",
                ),
                (bool(self.more) and self.format != "json", f"several lists need --format json, found {self.format}"),
                (self.nbest != 1 and self.format != "text", "--nbest requires --format text"),
                (
                    self.backward and self.contrast,
                    "--backward and --contrast: expected one of them, since a contrast replaces the source that "
                    "a forward model reads",
                ),
            )
            if wrong
        ]
        if problems:
            raise UserError("; ".join(problems))


def rescore(request: Request) -> None:
    """Score each hypothesis of a list. Resume where an earlier call was killed.

    Raises:
        UserError: if options conflict, an input cannot be used, pairs are in the pieces of another vocabulary, or
            the output belongs to another run.
    """
    candidates = Candidates(
        request.pairs, request.format, request.source, request.nbest, remove_bpe=request.remove_bpe, more=request.more
    )
    scorer, identity = _scorer(request, candidates)
    output = ResumableFile(
        request.out, identity, zipped=request.out.suffix == ".gz", state=STATE, lines=candidates.sentences
    )
    with contextlib.closing(output):
        _complete(output, request, candidates, scorer)


def _complete(output: ResumableFile, request: Request, candidates: Candidates, scorer: PairScorer) -> None:
    """Score the sentences that the output lacks, and finish it."""
    title, sentences = output.out.name, candidates.sentences
    if output.finished:
        print(f"{title} | up to date", file=sys.stderr)
        return
    state = output.state or {"settings": vars(scorer.settings), "seconds": 0.0, "counts": {}, "sum": 0.0}
    if output.done:
        print(f"{title} | resuming after {output.done:,} sentences", file=sys.stderr)
    elif shifted := "; ".join(candidates.out_of_step()):
        print(f"warning: {shifted}", file=sys.stderr)
    # A resumed run keeps the settings, and so the batches, to write the same bytes.
    scorer.settings = Settings(**{each.name: state["settings"].get(each.name) for each in fields(Settings)})
    engine = scorer.engine
    if scorer.settings.device != engine.default.device:
        raise UserError(
            f"--out {output.out} was started on {scorer.settings.device}, and this machine has "
            f"{engine.default.device}. Resume it there, or delete {title}* to start again"
        )
    engine.configure(scorer.settings)
    print(f"{title} | {engine.name}, {scorer.settings}", file=sys.stderr)
    progress = Progress(title, output.done, sentences)
    begun = time.monotonic()
    for records in _windows(candidates, output.done, request.window):
        arrays, counts = scorer.score(records)
        total = sum(score for scores in arrays for score in scores if score != UNSCORED)
        lines = [_line(record, scores, request) for record, scores in zip(records, arrays, strict=True)]
        now = time.monotonic()
        state = {
            "settings": state["settings"],
            "seconds": round(state["seconds"] + now - begun, 3),
            "counts": dict(Counter(state["counts"]) + counts),
            "sum": round(state["sum"] + total, 6),
        }
        begun = now
        candidates.check_unchanged()
        output.append(lines, state)
        progress(len(records))
    made = {"pairs": str(request.pairs), "teacher_path": request.teacher_path, "command": ["lskd", *sys.argv[1:]]}
    output.finish({**state, **made, "versions": versions()})
    _report(title, sentences, state)


def _scorer(request: Request, candidates: Candidates) -> tuple[PairScorer, dict[str, Any]]:
    """Load the model. Return the scorer, and the identity of the run."""
    models = request.segmentation
    # Find broken files before the model is loaded.
    splits = {side: splitter(path, flag) for side, (flag, path) in models.items()}
    as_text = [models[side][1] is not None for side in ("source", "target")]
    candidates.check_text(*(reversed(as_text) if request.backward else as_text))
    loaded = load(request)
    _check_direction(request, candidates, loaded.translates)
    sides = Sides(
        splits["source"],
        splits["target"],
        models["source"][1] is not None,
        models["target"][1] is not None,
        request.backward,
        request.remove_bpe,
    )
    sample = list(itertools.islice(candidates.read(), SAMPLE))
    pairs = [pair for many in sides.pairs(sample) for pair in many]
    texts = (candidates.source_name, str(request.pairs))
    sides_read = zip(models, loaded.symbols, reversed(texts) if request.backward else texts, strict=True)
    for number, (side, known, where) in enumerate(sides_read):
        read_as = f"{where}, which is the {side} side of the scoring model"
        way_out = (
            f"Give --sentencepiece-{side} with the SentencePiece model of this side of the scoring model. Without it, "
            "lines must be in its pieces"
        )
        share = check_pieces((each[number] for each in pairs), frozenset(known), read_as, "the scoring model", way_out)
        if share > DOUBTFUL:
            print(
                f"warning: {read_as}: the scoring model lacks {share:.0%} of the tokens of the first sentences, and "
                f"reads them as <unk>, so its scores may mean little. {way_out}",
                file=sys.stderr,
            )
    engine = loaded.make_engine()
    extra = loaded.extra + 1
    others = None
    if request.contrast:
        others = OtherSources(source for source, _ in pairs if len(source) + extra <= engine.max_source_positions)
        if len(others) < 2:
            raise UserError(f"--contrast: the first {SAMPLE:,} source sentences of {request.pairs} are all the same")
    cores, workers = engine.default.workers * engine.default.threads, request.workers or engine.default.workers
    settings = replace(
        engine.default,
        compute_type=request.compute_type,
        workers=workers,
        threads=max(1, cores // workers),
        max_tokens=request.max_tokens or engine.default.max_tokens,
    )
    identity = {
        **candidates.digests,
        **{name: [sha256(path) for path in paths] for name, paths in loaded.inputs.items()},
        **{f"sentencepiece-{side}": sha256(path) for side, (_, path) in models.items() if path},
        "score": _kind(request),
        "engine": engine.name,
        **({"pair": loaded.pair} if loaded.pair else {}),
        **{
            name.replace("_", "-"): value
            for name in RECORDED_OPTIONS
            if (value := getattr(request, name)) not in (None, "", "auto")
        },
    }
    return PairScorer(engine, sides, settings, request.sum, others, extra), identity


def _check_direction(request: Request, candidates: Candidates, translates: str | None) -> None:
    """Raise a `UserError` if the model translates in the direction that this score does not need.

    Args:
        translates: the direction of the model, such as de-en; None if it is not known.
    """
    for path, made in zip((request.pairs, *request.more), candidates.made_by, strict=True):
        pair = value_at(made, "translates")
        if not (isinstance(pair, str) and translates):
            continue
        source, _, target = pair.partition("-")
        needed, opposite = (f"{target}-{source}", pair) if request.backward else (pair, f"{target}-{source}")
        if translates == opposite != needed:
            score, change = ("--backward", "leave out") if request.backward else ("a score without --backward", "add")
            raise UserError(
                f"{path} has translations {pair}, for which {score} needs a model {needed}. "
                f"{request.teacher_path or request.model} translates {translates}. Name a model of the other "
                f"direction, or {change} --backward"
            )


def _kind(request: Request) -> str:
    """Describe the score in words, for the record."""
    words = ["log p(source | hypothesis)" if request.backward else "log p(hypothesis | source)"]
    words += [f"- {words[0].replace('source', 'other source')}"] if request.contrast else []
    return " ".join([*words, "summed" if request.sum else "per token"])


def _windows(candidates: Candidates, start: int, window: int) -> Iterator[list[dict[str, Any]]]:
    records = itertools.islice(candidates.read(), start, None)
    while block := list(itertools.islice(records, window)):
        yield block


def _line(record: dict[str, Any], scores: list[float], request: Request) -> str:
    try:
        return json.dumps(scores, allow_nan=False)
    except ValueError:
        raise UserError(
            f"sentence {record['id']} of {request.pairs} got a score that is not a finite number. The weights of "
            f"{request.teacher_path or request.model} are broken, or too large for --compute-type float16"
        ) from None


def _report(title: str, sentences: int, state: dict[str, Any]) -> None:
    counts, seconds = state["counts"], max(state["seconds"], 1e-3)
    scored = counts.get("pairs", 0) - counts.get(EMPTY, 0) - counts.get(TOO_LONG, 0)
    skipped = "".join(f"; {n:,} {why}: {UNSCORED:g}" for why in (EMPTY, TOO_LONG) if (n := counts.get(why)))
    mean = f", mean score {state['sum'] / scored:.3f}" if scored else ""
    print(
        f"{title} | {sentences:,} sentences, {counts.get('pairs', 0):,} pairs{mean}; {sentences / seconds:,.0f} "
        f"sentences/s, {counts.get('pairs', 0) / seconds:,.0f} pairs/s{skipped}",
        file=sys.stderr,
    )
