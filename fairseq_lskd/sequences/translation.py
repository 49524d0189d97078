"""Translate a corpus with a teacher or an ensemble into n-best lists, as `lskd translate` does."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..compat.versions import version_of
from ..data.dictionary import FAIRSEQ_SPECIALS, read_dictionary
from ..errors import UserError
from ..files import sha256
from ..machine import threads
from ..reading import COUNT, NUMBER
from .corpus import BinarisedCorpus, Corpus, open_corpus
from .decoding import RECORDED, DecodingOptions, Engine, Settings
from .measure import measure
from .nbest import EMPTY, TOO_LONG, to_line
from .resumable import ResumableFile
from .segmentation import SENTENCEPIECE, check_pieces, joiner, model_symbols, splitter
from .shards import Shard, shard_path
from .translate import UNKNOWN_SENTENCES, Progress, Translator, count

#: A function that creates the engine, the source and target symbols, the input files by kind, the source language, and
#: the language pair of a multilingual teacher.
Loaded = tuple[Callable[[], Engine], tuple[list[str], list[str]], dict[str, list[Path]], str | None, str | None]
MARKS = ("source_prefix", "source_suffix", "target_prefix")
MARKS_SHARE = 0.02  #: share of a teacher's types that a corpus may lack, such as language tokens
COUNTS = ("window", "num_shards", "limit", "max_source_positions", "max_target_positions")
SETTINGS = ("device", "compute_type", "threads", "workers", "max_tokens", "batch_size")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `lskd translate`, described by its `--help`."""

    corpus: Path
    out: Path
    search: DecodingOptions = field(default_factory=DecodingOptions)
    subset: str | None = None
    limit: int | None = None
    teacher_path: str | None = None
    model: Path | None = None
    teacher_data: str | None = None
    source_lang: str | None = None
    target_lang: str | None = None
    sentencepiece: Path | None = None
    sentencepiece_source: Path | None = None
    sentencepiece_target: Path | None = None
    source_prefix: str = ""
    source_suffix: str | None = None
    target_prefix: str = ""
    max_source_positions: int | None = None
    max_target_positions: int | None = None
    engine: str = "auto"
    device: str = "auto"
    compute_type: str = "auto"
    threads: int | None = None
    workers: int | None = None
    max_tokens: int | None = None
    batch_size: int | None = None
    cache_dir: Path | None = None
    merge_duplicates: bool = False
    num_shards: int = 1
    shard_id: int = 0
    window: int = 2000


def translate(request: Request) -> None:
    """Translate a corpus, or one shard of it, into n-best lists. Resume where an earlier call was killed.

    Raises:
        UserError: if options conflict, an input cannot be used, or the output belongs to another run.
    """
    translator, identity = _translator(request)
    sentences = _sentences(request, translator)
    shard = Shard.cut(sentences, request.window, request.shard_id, request.num_shards)
    identity |= {"sentences": sentences, "shard": f"{shard.number} of {shard.of}"}
    kept = {"settings": RECORDED, "measured": list, "seconds": NUMBER, "counts": {str: COUNT}}
    path = shard_path(request.out, shard.number, shard.of)
    output = ResumableFile(
        path, identity, zipped=request.out.suffix == ".gz", state=kept, lines=shard.stop - shard.start
    )
    with contextlib.closing(output):
        _complete(output, request, translator, shard)


def _complete(output: ResumableFile, request: Request, translator: Translator, shard: Shard) -> None:
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
    print(f"{title} | {translator.engine.name}, {settings}", file=sys.stderr)
    progress = Progress(title, output.done, wanted)
    begun = time.monotonic()
    for records in translator.translate(settings, shard.start + output.done, shard.stop, progress):
        now = time.monotonic()
        counts = Counter(state["counts"]) + Counter(count(records))
        state = {**state, "seconds": round(state["seconds"] + now - begun, 3), "counts": dict(counts)}
        begun = now
        translator.corpus.check_unchanged()  # before anything of a changed text is written
        output.append([to_line(record, str(request.teacher_path or request.model)) for record in records], state)
    command = ["lskd", *sys.argv[1:]]
    made = {"corpus": str(request.corpus), "teacher_path": request.teacher_path, "command": command}
    output.finish({**state, **made, "versions": versions()})
    skipped = ", ".join(f"{n:,} {why}" for why in (EMPTY, TOO_LONG) if (n := state["counts"].get(why)))
    if unknown := state["counts"].get(UNKNOWN_SENTENCES, 0):
        print(
            f"{title} | {unknown:,} sentences have <unk> in their translations ({unknown / output.done:.1%}), which a "
            "student would learn. --unkpen inf prevents it, and --filter-unk of lskd select drops these translations",
            file=sys.stderr,
        )
    rate = output.done / max(state["seconds"], 1e-3)
    print(
        f"{title} | {output.done:,} sentences, {rate:,.0f} per second{f'; skipped: {skipped}' if skipped else ''}",
        file=sys.stderr,
    )


def _translator(request: Request) -> tuple[Translator, dict[str, Any]]:
    """Return the translator, and the identity of the run: its options and the digests of its inputs."""
    options = request.search
    if not request.corpus.exists():
        raise UserError(f"CORPUS {request.corpus}: no such file or folder")
    if (request.teacher_path is None) == (request.model is None):
        raise UserError("expected --teacher-path with fairseq checkpoints, or --model with a CTranslate2 model folder")
    sides = {side: getattr(request, f"sentencepiece_{side}") for side in ("source", "target")}
    models = {side: path or request.sentencepiece for side, path in sides.items()}
    flags = {side: f"--sentencepiece-{side}" if path else "--sentencepiece" for side, path in sides.items()}
    if request.corpus.is_dir():
        if request.sentencepiece_source:
            raise UserError(
                f"--sentencepiece-source is for raw text, and the folder {request.corpus} is in pieces. Leave it out"
            )
        models["source"] = None
    split = splitter(models["source"], flags["source"])
    loaded = (
        from_model(request.model, request) if request.model else from_checkpoints(str(request.teacher_path), request)
    )
    make_engine, (known, symbols), inputs, source_lang, pair = loaded
    corpus = open_corpus(request.corpus, request.subset, source_lang)
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
    engine = make_engine()  # may take minutes
    marks = len(f"{request.source_prefix} {request.source_suffix or ''}".split())
    join = joiner(models["target"], symbols, flags["target"])
    translator = Translator(corpus, engine, split, join, request.window, marks + 1, request.merge_duplicates)
    identity = {
        "corpus": corpus.digest,
        **{name: [sha256(path) for path in paths] for name, paths in inputs.items()},
        **{f"sentencepiece-{side}": sha256(path) for side, path in models.items() if path},
        "engine": engine.name,
        **({"pair": pair} if pair else {}),
        **options.recorded(),
        **({"merge-duplicates": True} if request.merge_duplicates else {}),
        **{
            name.replace("_", "-"): value
            for name in (*MARKS, *COUNTS, *SETTINGS)
            if (value := getattr(request, name)) not in (None, "")
        },
    }
    return translator, identity


def from_checkpoints(paths: str, request: Request) -> Loaded:
    from ..teachers.alone import load_teacher
    from ..teachers.languages import options_of
    from .engines.choose import choose_engine

    for name in MARKS:
        if getattr(request, name):
            raise UserError(f"--{name.replace('_', '-')} needs --model")
    teacher = load_teacher(paths, request.teacher_data, request.source_lang, request.target_lang)
    limits = (request.max_source_positions, request.max_target_positions)
    source, target = (min(given or own, own) for given, own in zip(limits, teacher.max_positions, strict=True))
    teacher.max_positions = (source, target)
    cache = request.cache_dir or request.out.parent / "ctranslate2-models"
    inputs = {"teacher": teacher.paths, "dictionaries": [*teacher.dictionaries, *teacher.more_files]}
    symbols = (teacher.task.source_dictionary.symbols, teacher.task.target_dictionary.symbols)

    def make_engine() -> Engine:
        return choose_engine(teacher, request.search, request.engine, request.device, _cores(request), cache)

    task = options_of(teacher.task)
    pair = None if teacher.marks is None else f"{task.source_lang}-{task.target_lang}"
    return make_engine, symbols, inputs, task.source_lang, pair


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
        "--sentencepiece-target)"
    )


def from_model(model: Path, request: Request) -> Loaded:
    from .engines.choose import require_ctranslate2

    require_ctranslate2("--model")
    options = request.search
    from .engines.choose import unsupported

    if request.engine == "fairseq":
        raise UserError("--engine fairseq needs --teacher-path: fairseq cannot load a CTranslate2 model (--model)")
    if reason := unsupported(options):
        raise UserError(f"--model: {reason}. Give the fairseq checkpoint with --teacher-path")
    from .engines.ctranslate2_engine import CTranslate2Engine, Marks, read_config

    symbols = model_symbols(model, "source"), model_symbols(model)
    if request.source_suffix is None and not read_config(model).get("add_source_eos", True):
        raise UserError(
            f"--model {model} adds no end-of-sentence token to a source (add_source_eos in its config.json). Give one "
            "with --source-suffix ('</s>' for most models), or --source-suffix '' for none"
        )
    positions = (request.max_source_positions or 512, request.max_target_positions or 512)
    marks = Marks(*(tuple((getattr(request, name) or "").split()) for name in MARKS))
    files = sorted(path for path in model.iterdir() if path.is_file())

    def make_engine() -> Engine:
        return CTranslate2Engine(model, options, request.device, _cores(request), positions, marks)

    return make_engine, symbols, {"model": files}, request.source_lang, None


def _cores(request: Request) -> int:
    return request.threads or threads()


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
        fixed |= {"workers": request.workers, "threads": max(1, _cores(request) // request.workers)}
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
    translator, _ = _translator(request)
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


def versions() -> dict[str, str]:
    packages = ("fairseq_lskd", "fairseq", "torch", "ctranslate2", "sentencepiece")
    return {
        "python": platform.python_version(),
        **{name: version_of(name) for name in packages if name in sys.modules},
    }
