"""Translate a corpus with a teacher or an ensemble into n-best lists, as `lskd translate` does."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..data.degenerate import Sampled
from ..data.dictionary import FAIRSEQ_SPECIALS, read_dictionary
from ..errors import UserError
from ..files import sha256
from ..progress import Progress
from ..reading import COUNT, NUMBER
from .corpus import BinarisedCorpus, Corpus, open_corpus
from .decoding import RECORDED, DecodingOptions, Settings
from .loading import MARKS, ModelRequest, load, versions
from .measure import measure
from .nbest import EMPTY, TOO_LONG, to_line
from .resumable import ResumableFile
from .segmentation import SENTENCEPIECE, check_pieces, joiner, splitter
from .shards import Shard, shard_path
from .translate import UNKNOWN_SENTENCES, Translator, count

MARKS_SHARE = 0.02  #: share of a teacher's types that a corpus may lack, such as language tokens
COUNTS = ("window", "num_shards", "limit", "max_source_positions", "max_target_positions")
SETTINGS = ("device", "compute_type", "threads", "workers", "max_tokens", "batch_size")


@dataclass(frozen=True, kw_only=True)
class Request(ModelRequest):
    """The options of `lskd translate`, described by its `--help`."""

    corpus: Path
    search: DecodingOptions = field(default_factory=DecodingOptions)
    subset: str | None = None
    limit: int | None = None
    compute_type: str = "auto"
    batch_size: int | None = None
    merge_duplicates: bool = False
    num_shards: int = 1
    shard_id: int = 0


def translate(request: Request) -> None:
    """Translate a corpus, or one shard of it, into n-best lists. Resume where an earlier call was killed.

    Raises:
        UserError: if options conflict, an input cannot be used, or the output belongs to another run.
    """
    translator, identity, translates = _translator(request)
    sentences = _sentences(request, translator)
    shard = Shard.cut(sentences, request.window, request.shard_id, request.num_shards)
    identity |= {"sentences": sentences, "shard": f"{shard.number} of {shard.of}"}
    kept = {"settings": RECORDED, "measured": list, "seconds": NUMBER, "counts": {str: COUNT}}
    path = shard_path(request.out, shard.number, shard.of)
    output = ResumableFile(
        path, identity, zipped=request.out.suffix == ".gz", state=kept, lines=shard.stop - shard.start
    )
    with contextlib.closing(output):
        _complete(output, request, translator, shard, translates)


def _complete(
    output: ResumableFile, request: Request, translator: Translator, shard: Shard, translates: str | None
) -> None:
    """Translate the sentences that the output lacks, and finish it."""
    title, wanted = output.out.name, shard.stop - shard.start
    if output.finished:
        print(f"{title} | up to date", file=sys.stderr)
        return
    state = output.state
    if state:
        print(f"{title} | resuming after {output.done:,} sentences", file=sys.stderr)
        settings = Settings(**{each.name: state["settings"].get(each.name) for each in fields(Settings)})
        if settings.device == "cuda" and translator.engine.default.device != "cuda":
            raise UserError(
                f"{output.out} was started on cuda, and this machine has no GPU. Resume on a machine with a GPU, or "
                f"delete {title}* to start again"
            )
        translator.engine.configure(settings)
    else:
        settings, rows = _settings(request, translator, shard)
        state = {"settings": vars(settings), "measured": rows, "seconds": 0.0, "counts": {}}
        output.append([], state)
    direction = f"{translates}, " if translates else ""
    print(f"{title} | {direction}{translator.engine.name}, {settings}", file=sys.stderr)
    progress = Progress(title, output.done, wanted)
    begun = time.monotonic()
    looked_at = Sampled()  # after a restart, at the rest
    for records in translator.translate(settings, shard.start + output.done, shard.stop, progress):
        now = time.monotonic()
        counts = Counter(state["counts"]) + Counter(count(records))
        state = {**state, "seconds": round(state["seconds"] + now - begun, 3), "counts": dict(counts)}
        begun = now
        translator.corpus.check_unchanged()  # before anything of a changed text is written
        output.append([to_line(record, str(request.teacher_path or request.model)) for record in records], state)
        for record in records:
            for best in record["hypotheses"][:1]:
                looked_at.add(record["id"] + 1, record["source"], best["text"])
    command = ["lskd", *sys.argv[1:]]
    made: dict[str, Any] = {"corpus": str(request.corpus), "teacher_path": request.teacher_path, "command": command}
    if translates:
        made["translates"] = translates
    output.finish({**state, **made, "versions": versions()})
    skipped = ", ".join(f"{n:,} {why}" for why in (EMPTY, TOO_LONG) if (n := state["counts"].get(why)))
    if unknown := state["counts"].get(UNKNOWN_SENTENCES, 0):
        print(
            f"{title} | {unknown:,} sentences have <unk> in their translations ({unknown / output.done:.1%}), which a "
            "student would learn. `lskd translate --unkpen inf` prevents it (scripts/translate.sh ... -- --unkpen inf, "
            "then scripts/distill_seq.sh --translations), and `lskd select --filter-unk` drops these translations",
            file=sys.stderr,
        )
    for warning in looked_at.warnings(title):
        print(f"warning: {warning}", file=sys.stderr)
    rate = output.done / max(state["seconds"], 1e-3)
    print(
        f"{title} | {output.done:,} sentences, {rate:,.0f} per second{f'; skipped: {skipped}' if skipped else ''}",
        file=sys.stderr,
    )


def _translator(request: Request) -> tuple[Translator, dict[str, Any], str | None]:
    """Return the translator, the identity of the run (its options and the digests of its inputs), and the direction."""
    options = request.search
    if not request.corpus.exists():
        raise UserError(f"CORPUS {request.corpus}: no such file or folder")
    flags = {side: flag for side, (flag, _) in request.segmentation.items()}
    models = {side: path for side, (_, path) in request.segmentation.items()}
    if request.corpus.is_dir():
        if request.sentencepiece_source:
            raise UserError(
                f"--sentencepiece-source is for raw text, and the folder {request.corpus} is in pieces. Leave it out"
            )
        models["source"] = None
    split = splitter(models["source"], flags["source"])
    loaded = load(request, options)
    known, symbols = loaded.symbols
    corpus = open_corpus(request.corpus, request.subset, loaded.source_lang)
    if loaded.translates and request.corpus.is_file():
        _warn_of_language(request, *loaded.translates.split("-", 1))
    if models["source"] and sum(SENTENCEPIECE in line for line in corpus.read(0, 100)) > min(50, corpus.sentences / 2):
        raise UserError(
            f"{request.corpus} is in SentencePiece pieces, not raw text. Leave out --sentencepiece and "
            "--sentencepiece-source; you may keep --sentencepiece-target"
        )
    if not request.model:  # a CTranslate2 model has other special tokens, and its vocabulary may be smaller
        _check_dictionary(corpus, known, models["source"] is None)
    if options.sampling_topk > len(symbols):
        raise UserError(
            f"--sampling-topk {options.sampling_topk}: expected at most {len(symbols):,}, the teacher's vocabulary size"
        )
    check_pieces(split(list(corpus.read(0, 1000))), frozenset(known), f"CORPUS {request.corpus}")
    engine = loaded.make_engine()
    join = joiner(models["target"], symbols, flags["target"])
    extra, merged = loaded.extra + 1, request.merge_duplicates
    translator = Translator(corpus, engine, split, join, request.window, extra, merged, loaded.unspoken)
    identity = {
        "corpus": corpus.digest,
        **{name: [sha256(path) for path in paths] for name, paths in loaded.inputs.items()},
        **{f"sentencepiece-{side}": sha256(path) for side, path in models.items() if path},
        "engine": engine.name,
        **({"pair": loaded.pair} if loaded.pair else {}),
        **options.recorded(),
        **({"merge-duplicates": True} if request.merge_duplicates else {}),
        **{
            name.replace("_", "-"): value
            for name in (*MARKS, *COUNTS, *SETTINGS)
            if (value := getattr(request, name)) not in (None, "")
        },
    }
    return translator, identity, loaded.translates


def _warn_of_language(request: Request, source: str, target: str) -> None:
    """Warn of a text that has the ending of the language that the teacher translates into."""
    ending = request.corpus.name.removesuffix(".gz").rpartition(".")[2]
    if ending == target != source:
        print(
            f"warning: CORPUS {request.corpus} ends in .{target}, and {request.teacher_path or request.model} "
            f"translates {source} -> {target}: expected text in {source}. If it is in {target}, give the other side "
            "of the corpus, or a teacher of the other direction",
            file=sys.stderr,
        )


def _check_dictionary(corpus: Corpus, known: list[str], in_pieces: bool) -> None:
    """Raise a `UserError` if prepared data have another dictionary than the teacher.

    A dictionary that `lskd encode` or `lskd binarise` wrote is a whole vocabulary, so it must not lack types of the
    teacher's dictionary either.
    """
    if isinstance(corpus, BinarisedCorpus):
        folder, types, whole = corpus.path.parent, corpus.dictionary.symbols, "binarise.json"
    else:
        folder, whole = corpus.path.parent, "encode.json"
        dictionary = folder / f"dict.{corpus.path.name.removesuffix('.gz').rpartition('.')[2]}.txt"
        if not (in_pieces and dictionary.is_file() and (folder / whole).is_file()):
            return
        types = list(read_dictionary(dictionary))

    def lacking(words: list[str], there: list[str]) -> list[str]:
        known = {*there, *FAIRSEQ_SPECIALS}
        # fairseq pads dictionaries with words called madeupword0000 and so on.
        return [word for word in words if word not in known and not word.startswith("madeupword")]

    here = lacking(types, known)
    is_whole = (folder / whole).is_file() and any(word.startswith(SENTENCEPIECE) for word in types)
    # The dictionary may lack a few types that are in no text, such as language tokens.
    more = found if is_whole and len(found := lacking(known, types)) > MARKS_SHARE * len(known) else []
    if not here and not more:
        return
    facts = [f"the teacher lacks {len(here):,} of its {len(types):,} types (such as {here[0]!r})"] if here else []
    facts += [f"it lacks {len(more):,} of the teacher's {len(known):,} types (such as {more[0]!r})"] if more else []
    raise UserError(
        f"CORPUS {folder} has another vocabulary than the teacher: {', and '.join(facts)}. Encode and binarise it with "
        "the teacher's vocabulary (lskd encode --spm-model). Or translate its raw text with --sentencepiece and the "
        "teacher's model; lskd select then splits it into the student's pieces (--sentencepiece-source, "
        "--sentencepiece-target). scripts/distill_seq.sh --teacher-data TEACHER_DATA does this by itself"
    )


def _settings(request: Request, translator: Translator, shard: Shard) -> tuple[Settings, list[dict[str, Any]]]:
    """Choose the engine's settings and configure it. Return them, and a row for each measured setting."""
    fixed = _fixed(request)
    sample = [] if {"compute_type", "workers", "max_tokens"} <= fixed.keys() else translator.sample(shard)
    if not sample:
        settings = replace(translator.engine.default, **fixed)
        translator.engine.configure(settings)
        return settings, []
    measurement = measure(translator.engine, fixed, sample, shard.stop - shard.start)
    return measurement.settings, measurement.rows


def _fixed(request: Request) -> dict[str, Any]:
    """Return the settings that the user gave."""
    fixed = {name: value for name in ("max_tokens", "batch_size") if (value := getattr(request, name))}
    if request.compute_type != "auto":
        fixed["compute_type"] = request.compute_type
    if request.workers:
        fixed |= {"workers": request.workers, "threads": max(1, request.cores // request.workers)}
    return fixed


class Plan(NamedTuple):
    """The amount of work of a translation, and its speed on a sample."""

    sentences: int
    skipped: Counter[str]  #: number of skipped sentences by reason; "pieces" is the number of source pieces
    engine: str
    settings: Settings
    tried: int  #: number of settings that were measured
    rate: float  #: sentences per second on a sample
    largest: int  #: number of sentences of the largest shard


def plan(request: Request) -> Plan:
    """Count the corpus, and measure the engine on a sample of it.

    Raises:
        UserError: as in `translate`, and if no sentence can be translated.
    """
    translator, *_ = _translator(request)
    sentences = _sentences(request, translator)
    whole = Shard.cut(sentences, request.window)
    sample = translator.sample(whole)
    if not sample:
        raise UserError(f"{request.corpus}: every sentence is empty or too long")
    counts = translator.survey(whole)
    found = measure(translator.engine, _fixed(request), sample, sentences)
    shards = [Shard.cut(sentences, request.window, index, request.num_shards) for index in range(request.num_shards)]
    largest = max(shard.stop - shard.start for shard in shards)
    return Plan(sentences, counts, translator.engine.name, found.settings, len(found.rows), found.rate, largest)


def _sentences(request: Request, translator: Translator) -> int:
    return min(request.limit or translator.corpus.sentences, translator.corpus.sentences)
