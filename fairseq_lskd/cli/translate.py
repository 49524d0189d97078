"""Translate a corpus with a teacher, or an ensemble, into n-best lists: one JSON line a sentence, in its order.

CORPUS is a text file (.gz too), in the pieces that the teacher was trained on or, with --sentencepiece, as raw text;
or a binarised folder. What was translated is on disk after every window of sentences: called again after a kill, the
same command goes on there. docs/translate.md says more.
"""

from __future__ import annotations

import argparse
import logging
import math
import platform
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..machine import threads
from ..sequences.nbest import EMPTY, TOO_LONG
from ..user_dir import add_user_dir

if TYPE_CHECKING:
    from ..sequences.corpus import Corpus
    from ..sequences.decoding import DecodingOptions, Engine, Settings
    from ..sequences.shards import Shard
    from ..sequences.translate import Translator

    #: What makes an engine, its vocabularies, the files that it depends on, and the source's language.
    Loaded = tuple[Callable[[], Engine], tuple[list[str], list[str]], dict[str, list[Path]], str | None]

MARKS = ("source_prefix", "source_suffix", "target_prefix")
MARKS_SHARE = 0.02  #: of a teacher's types that no text need have
COUNTS = ("window", "num_shards", "limit", "max_source_positions", "max_target_positions")
SETTINGS = ("device", "compute_type", "threads", "workers", "max_tokens", "batch_size")

EXAMPLES = """examples:
  lskd translate data/multi30k/bin --teacher-path runs/mine/teacher/checkpoint_average.pt --out runs/mine/nbest.jsonl \\
      --nbest 5 --max-len-a 1.2 --max-len-b 10
  lskd translate train.de.gz --teacher-path a.pt:b.pt --sentencepiece spm.model --out ensemble.jsonl.gz
  lskd translate train.de.gz --teacher-path a.pt --sentencepiece spm.model --out nbest.jsonl --plan
  lskd translate train.en --model opus-mt-en-de --sentencepiece-source source.spm --sentencepiece-target target.spm \\
      --out opus.jsonl
  lskd translate train.de --teacher-path a.pt --out nbest.jsonl --num-shards 8 --shard-id 3
  lskd translate --merge --out nbest.jsonl --num-shards 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd translate`."""
    parser.add_argument("corpus", type=Path, nargs="?", metavar="CORPUS", help="a text file, or a binarised folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the n-best lists (.gz: gzipped)")
    parser.add_argument("--subset", metavar="NAME", help="split of a binarised folder (train)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N sentences")
    parser.add_argument("--plan", action="store_true", help="print what there is to do and how long it takes; stop")

    of_teacher = parser.add_argument_group("the teacher")
    add_user_dir(of_teacher)
    teacher = of_teacher.add_mutually_exclusive_group()
    teacher.add_argument("--teacher-path", metavar="FILE", help="fairseq checkpoints; joined by : they are an ensemble")
    teacher.add_argument("--model", type=Path, metavar="DIR", help="or a CTranslate2 model folder: OPUS-MT, NLLB, M2M")
    text = parser.add_argument_group("its vocabulary")
    text.add_argument("--teacher-data", metavar="DIR", help="folder of its dict.LANG.txt (beside the checkpoint)")
    text.add_argument("-s", "--source-lang", metavar="LANG", help="where the checkpoint or the folder doesn't say it")
    text.add_argument("-t", "--target-lang", metavar="LANG")
    text.add_argument("--sentencepiece", type=Path, metavar="FILE", help="CORPUS is raw text; the model of both sides")
    text.add_argument("--sentencepiece-source", type=Path, metavar="FILE", help="the source's, if it is another")
    text.add_argument("--sentencepiece-target", type=Path, metavar="FILE", help="the target's, if it is another")
    text.add_argument("--source-prefix", default="", metavar="TOKENS", help="put before every source (with --model)")
    text.add_argument("--source-suffix", metavar="TOKENS", help="put after every source (with --model)")
    text.add_argument("--target-prefix", default="", metavar="TOKENS", help="what a translation begins with (--model)")
    text.add_argument(
        "--max-source-positions", type=int, metavar="N", help="skip longer sources (the teacher's; with --model: 512)"
    )
    text.add_argument(
        "--max-target-positions", type=int, metavar="N", help="write at most so much (the teacher's; with --model: 512)"
    )

    search = parser.add_argument_group("the search, as in fairseq-generate")
    search.add_argument("--beam", type=int, default=5, metavar="N", help="(%(default)s)")
    search.add_argument("--nbest", type=int, default=1, metavar="N", help="hypotheses a sentence (%(default)s)")
    search.add_argument(
        "--lenpen", type=float, default=1.0, metavar="X", help="score = log p / length ** X (%(default)s)"
    )
    search.add_argument(
        "--max-len-a", type=float, default=0.0, metavar="A", help="at most A * source length + B tokens"
    )
    search.add_argument("--max-len-b", type=int, default=200, metavar="B", help="(%(default)s)")
    search.add_argument("--min-len", type=int, default=1, metavar="N", help="at least N tokens (%(default)s)")
    search.add_argument("--sampling", action="store_true", help="draw --beam translations, and keep the --nbest best")
    search.add_argument("--sampling-topk", type=int, default=-1, metavar="K", help="from the K likeliest tokens")
    search.add_argument("--sampling-topp", type=float, default=-1.0, metavar="P", help="from the likeliest that have P")
    search.add_argument("--temperature", type=float, default=1.0, metavar="T", help="of sampling (%(default)s)")
    search.add_argument("--diverse-beam-groups", type=int, default=-1, metavar="N", help="diverse beam search")
    search.add_argument("--diverse-beam-strength", type=float, default=0.5, metavar="X", help="(%(default)s)")
    search.add_argument("--seed", type=int, default=1, metavar="N", help="of sampling (%(default)s)")
    search.add_argument(
        "--unkpen",
        type=float,
        default=0.0,
        metavar="X",
        help="take X from the log-probability of <unk>; inf: never write it (CTranslate2 has 0 and inf)",
    )
    search.add_argument("--token-scores", action="store_true", help="write every token's log-probability as well")

    engine = parser.add_argument_group("the engine; what is left out is chosen by a short measurement")
    engine.add_argument("--engine", choices=("auto", "ctranslate2", "fairseq"), default="auto", help="(%(default)s)")
    engine.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(%(default)s)")
    engine.add_argument("--compute-type", choices=("auto", "float32", "float16", "int8"), default="auto")
    engine.add_argument("--threads", type=int, metavar="N", help="cores to use (OMP_NUM_THREADS, or all)")
    engine.add_argument("--workers", type=int, metavar="N", help="batches at a time, which share the cores")
    engine.add_argument("--max-tokens", type=int, metavar="N", help="source tokens in a batch")
    engine.add_argument("--batch-size", type=int, metavar="N", help="sentences in a batch at most")
    engine.add_argument(
        "--cache-dir", type=Path, metavar="DIR", help="keeps converted models (ctranslate2-models beside --out)"
    )

    shards = parser.add_argument_group("many processes or nodes")
    shards.add_argument("--num-shards", type=int, default=1, metavar="N", help="cut the corpus into N ranges")
    shards.add_argument("--shard-id", type=int, default=0, metavar="I", help="translate this one, from 0")
    shards.add_argument("--merge", action="store_true", help="put the outputs of all shards together")
    shards.add_argument(
        "--window", type=int, default=2000, metavar="N", help="sentences sorted and written at a time (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Translate, plan or merge."""
    from ..sequences.shards import merge

    if args.out is None:
        raise UserError("--out is missing: name the file to write")
    if args.merge:
        if args.num_shards < 2:
            raise UserError(
                f"--merge needs --num-shards, of how many shards: expected 2 or more, found {args.num_shards}"
            )
        print(f"{args.out}: {merge(args.out, args.num_shards):,} sentences", file=sys.stderr)
        return 0
    if args.corpus is None:
        raise UserError("CORPUS is missing: name a text file, or a binarised folder")
    return _translate(args)


def _translate(args: argparse.Namespace) -> int:
    from ..reading import COUNT, NUMBER
    from ..sequences.decoding import RECORDED, Settings
    from ..sequences.nbest import to_line
    from ..sequences.resumable import ResumableFile
    from ..sequences.shards import Shard, shard_path
    from ..sequences.translate import UNKNOWN_SENTENCES, Progress, count

    translator, identity = _translator(args)
    sentences = min(args.limit or translator.corpus.sentences, translator.corpus.sentences)
    shard = Shard.cut(sentences, args.window, args.shard_id, args.num_shards)
    if args.plan:
        return _plan(args, translator, sentences)
    identity |= {"sentences": sentences, "shard": f"{shard.number} of {shard.of}"}
    kept = {"settings": RECORDED, "measured": list, "seconds": NUMBER, "counts": {str: COUNT}}
    wanted = shard.stop - shard.start
    path = shard_path(args.out, shard.number, shard.of)
    output = ResumableFile(path, identity, zipped=args.out.suffix == ".gz", state=kept, lines=wanted)
    title = output.out.name
    if output.finished:
        print(f"{title} | up to date", file=sys.stderr)
        return 0
    state = output.state
    if state:
        print(f"{title} | going on after {output.done:,} sentences", file=sys.stderr)
        settings = Settings(**{each.name: state["settings"].get(each.name) for each in fields(Settings)})
        if settings.device == "cuda" and translator.engine.default.device != "cuda":
            raise UserError(
                f"{output.out} was begun on cuda, and there is no GPU here: go on where there is one, or delete "
                f"{title}* to begin again"
            )
        translator.engine.configure(settings)
    else:
        settings, rows = _settings(args, translator, shard)
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
        translator.corpus.check_unchanged()  # nothing of another text is kept
        output.append([to_line(record, str(args.teacher_path or args.model)) for record in records], state)
    command = ["lskd", *sys.argv[1:]]
    output.finish({**state, "corpus": str(args.corpus), "command": command, "versions": _versions()})
    skipped = ", ".join(f"{n:,} {why}" for why in (EMPTY, TOO_LONG) if (n := state["counts"].get(why)))
    if unknown := state["counts"].get(UNKNOWN_SENTENCES, 0):
        print(
            f"{title} | {unknown:,} sentences have <unk> in their translations ({unknown / output.done:.1%}), which a "
            "student would learn: --unkpen inf makes none, --filter-unk of lskd select drops them",
            file=sys.stderr,
        )
    rate = output.done / max(state["seconds"], 1e-3)
    print(
        f"{title} | {output.done:,} sentences, {rate:,.0f} a second{f'; skipped: {skipped}' if skipped else ''}",
        file=sys.stderr,
    )
    return 0


def _translator(args: argparse.Namespace) -> tuple[Translator, dict[str, Any]]:
    """What is to translate, and what tells this run from another."""
    from ..files import sha256
    from ..sequences.corpus import open_corpus
    from ..sequences.decoding import DecodingOptions
    from ..sequences.segmentation import SENTENCEPIECE, check_pieces, joiner, splitter
    from ..sequences.translate import Translator

    options = DecodingOptions(**{field.name: getattr(args, field.name) for field in fields(DecodingOptions)})
    if not args.corpus.exists():
        raise UserError(f"CORPUS {args.corpus}: no such file or folder")
    if (args.teacher_path is None) == (args.model is None):
        raise UserError("expected --teacher-path with fairseq checkpoints, or --model with a CTranslate2 model folder")
    sides = {side: getattr(args, f"sentencepiece_{side}") for side in ("source", "target")}
    models = {side: path or args.sentencepiece for side, path in sides.items()}
    flags = {side: f"--sentencepiece-{side}" if path else "--sentencepiece" for side, path in sides.items()}
    if args.corpus.is_dir():
        if args.sentencepiece_source:
            raise UserError(
                f"--sentencepiece-source is for raw text, the folder {args.corpus} is in pieces: leave it out"
            )
        models["source"] = None
    split = splitter(models["source"], flags["source"])
    make_engine, (known, symbols), inputs, source_lang = (_from_model if args.model else _from_checkpoints)(
        args, options
    )
    corpus = open_corpus(args.corpus, args.subset, source_lang)
    if models["source"] and sum(SENTENCEPIECE in line for line in corpus.read(0, 100)) > min(50, corpus.sentences / 2):
        raise UserError(
            f"{args.corpus} is in SentencePiece's pieces, not raw text: leave out --sentencepiece and "
            "--sentencepiece-source (--sentencepiece-target may stay)"
        )
    if not args.model:  # whose marks have other names, and whose vocabulary may be a part of the corpus's
        _check_dictionary(corpus, known, models["source"] is None)
    if options.sampling_topk > len(symbols):
        raise UserError(
            f"--sampling-topk {options.sampling_topk}: expected at most {len(symbols):,}, the teacher's vocabulary"
        )
    check_pieces(split(list(corpus.read(0, 1000))), frozenset(known), f"CORPUS {args.corpus}")
    engine = make_engine()  # which may take minutes
    marks = len(f"{args.source_prefix} {args.source_suffix or ''}".split())
    join = joiner(models["target"], symbols, flags["target"])
    translator = Translator(corpus, engine, split, join, args.window, marks + 1)
    identity = {
        "corpus": corpus.digest,
        **{name: [sha256(path) for path in paths] for name, paths in inputs.items()},
        **{f"sentencepiece-{side}": sha256(path) for side, path in models.items() if path},
        "engine": engine.name,
        **{name.replace("_", "-"): value for name, value in asdict(options).items() if name != "unkpen"},
        **({"unkpen": f"{options.unkpen:g}"} if options.unkpen else {}),  # JSON has no infinity
        **{
            name.replace("_", "-"): value
            for name in (*MARKS, *COUNTS, *SETTINGS)
            if (value := getattr(args, name)) not in (None, "")
        },
    }
    return translator, identity


def _from_checkpoints(args: argparse.Namespace, options: DecodingOptions) -> Loaded:
    # fairseq tells of its plug-ins and dictionaries, and asks torch for what that calls deprecated.
    for name in ("fairseq", "fairseq_lskd"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    from ..sequences.engines.choose import choose_engine
    from ..teachers.alone import load_teacher

    for name in MARKS:
        if getattr(args, name):
            raise UserError(f"--{name.replace('_', '-')} goes with --model")
    teacher = load_teacher(args.teacher_path, args.teacher_data, args.source_lang, args.target_lang)
    limits = (args.max_source_positions, args.max_target_positions)
    source, target = (min(given or own, own) for given, own in zip(limits, teacher.max_positions, strict=True))
    teacher.max_positions = (source, target)
    cache = args.cache_dir or args.out.parent / "ctranslate2-models"
    inputs = {"teacher": teacher.paths, "dictionaries": list(teacher.dictionaries)}
    symbols = (teacher.task.source_dictionary.symbols, teacher.task.target_dictionary.symbols)

    def make_engine() -> Engine:
        return choose_engine(teacher, options, args.engine, args.device, _cores(args), cache)

    return make_engine, symbols, inputs, teacher.task.cfg.source_lang


def _check_dictionary(corpus: Corpus, known: list[str], in_pieces: bool) -> None:
    """Prepared data have to be in the teacher's pieces, which another dictionary's are not, or only by chance.

    One that `lskd encode` made is the whole vocabulary: a part of the teacher's is another one, too.
    """
    from ..data.dictionary import FAIRSEQ_SPECIALS, read_dictionary
    from ..sequences.corpus import BinarisedCorpus
    from ..sequences.segmentation import SENTENCEPIECE

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
        # fairseq fills dictionaries up with made-up words.
        return [word for word in words if word not in known and not word.startswith("madeupword")]

    here = lacking(types, known)
    is_whole = (folder / whole).is_file() and any(word.startswith(SENTENCEPIECE) for word in types)
    # Marks of languages, for one, are in no text.
    more = found if is_whole and len(found := lacking(known, types)) > MARKS_SHARE * len(known) else []
    if not here and not more:
        return
    facts = [f"{len(here):,} of its {len(types):,} types are not the teacher's, {here[0]!r} for one"] if here else []
    facts += [f"{len(more):,} of the teacher's {len(known):,} types are not in it, {more[0]!r} for one"] if more else []
    raise UserError(
        f"CORPUS {folder} has another vocabulary than the teacher: "
        f"{', and '.join(facts)}. Binarise or encode it with the teacher's (lskd encode --spm-model). Or translate its "
        "raw text with --sentencepiece, the teacher's model; lskd select makes the student's pieces of that, by "
        "--sentencepiece-source and --sentencepiece-target"
    )


def _from_model(args: argparse.Namespace, options: DecodingOptions) -> Loaded:
    from ..sequences.engines.choose import require_ctranslate2
    from ..sequences.segmentation import model_symbols

    require_ctranslate2("--model")
    if args.engine == "fairseq" or options.diverse_beam_groups > 0 or 0 < options.unkpen < math.inf:
        raise UserError("--engine fairseq, --diverse-beam-groups and an --unkpen below inf go with --teacher-path")
    from ..sequences.engines.ctranslate2_engine import CTranslate2Engine, Marks, read_config

    symbols = model_symbols(args.model, "source"), model_symbols(args.model)
    if args.source_suffix is None and not read_config(args.model).get("add_source_eos", True):
        raise UserError(
            f"--model {args.model} puts no end mark after a source (its config.json says so, add_source_eos): "
            "give it, --source-suffix '</s>' for most models, or --source-suffix '' for none"
        )
    positions = (args.max_source_positions or 512, args.max_target_positions or 512)
    marks = Marks(*(tuple((getattr(args, name) or "").split()) for name in MARKS))
    files = sorted(path for path in args.model.iterdir() if path.is_file())

    def make_engine() -> Engine:
        return CTranslate2Engine(args.model, options, args.device, _cores(args), positions, marks)

    return make_engine, symbols, {"model": files}, args.source_lang


def _cores(args: argparse.Namespace) -> int:
    return args.threads or threads()


def _settings(args: argparse.Namespace, translator: Translator, shard: Shard) -> tuple[Settings, list[dict[str, Any]]]:
    """The engine's settings, and what they were chosen from; the engine is ready with them."""
    from ..sequences.measure import measure

    fixed = _fixed(args)
    sample = [] if {"compute_type", "workers", "max_tokens"} <= fixed.keys() else translator.sample(shard)
    if not sample:
        settings = replace(translator.engine.default, **fixed)
        translator.engine.configure(settings)
        return settings, []
    measurement = measure(translator.engine, fixed, sample, shard.stop - shard.start)
    return measurement.settings, measurement.rows


def _fixed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the user chose."""
    fixed = {name: value for name in ("max_tokens", "batch_size") if (value := getattr(args, name))}
    if args.compute_type != "auto":
        fixed["compute_type"] = args.compute_type
    if args.workers:
        fixed |= {"workers": args.workers, "threads": max(1, _cores(args) // args.workers)}
    return fixed


def _plan(args: argparse.Namespace, translator: Translator, sentences: int) -> int:
    from tqdm import tqdm

    from ..sequences.measure import measure
    from ..sequences.shards import Shard

    whole = Shard.cut(sentences, args.window)
    sample = translator.sample(whole)
    if not sample:
        raise UserError(f"{args.corpus}: every sentence is empty or too long")
    counts = translator.survey(whole)
    found = measure(translator.engine, _fixed(args), sample, sentences)
    shards = [Shard.cut(sentences, args.window, index, args.num_shards) for index in range(args.num_shards)]
    largest = max(shard.stop - shard.start for shard in shards)
    whole_time, shard_time = (tqdm.format_interval(n / found.rate) for n in (sentences, largest))
    skipped = f"; {counts[EMPTY]:,} {EMPTY} and {counts[TOO_LONG]:,} {TOO_LONG} are skipped"
    print(f"sentences  {sentences:,}, of {counts['pieces']:,} pieces{skipped}")
    print(f"engine     {translator.engine.name}, {found.settings} (the best of {len(found.rows)} settings)")
    print(f"rate       {found.rate:,.0f} sentences a second in a sample")
    print(f"shards     {len(shards)}, of {largest:,} sentences at most")
    print(f"time       {whole_time}" + (f", {shard_time} a shard" if len(shards) > 1 else ""))
    return 0


def _versions() -> dict[str, str]:
    from ..compat.versions import version_of

    packages = ("fairseq_lskd", "fairseq", "torch", "ctranslate2", "sentencepiece")
    return {
        "python": platform.python_version(),
        **{name: version_of(name) for name in packages if name in sys.modules},
    }
