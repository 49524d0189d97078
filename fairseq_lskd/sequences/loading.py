"""The model that `lskd translate` and `lskd rescore` use, with its vocabulary and engine."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..compat.versions import version_of
from ..errors import UserError
from ..extras import require
from ..machine import threads
from ..teachers.model_folder import model_symbols, read_config
from ..teachers.model_tokens import choose_affixes, direction, read_export, unspoken
from .decoding import DecodingOptions, Engine

#: Options with the tokens that are put before and after every sentence.
MARKS = ("source_prefix", "source_suffix", "target_prefix")


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """The options of the model, its text and its engine, described by `lskd translate --help`.

    Raises:
        UserError: if not exactly one of `teacher_path` and `model` is given.
    """

    out: Path
    teacher_path: str | None = None
    model: Path | None = None
    teacher_data: str | None = None
    source_lang: str | None = None
    target_lang: str | None = None
    sentencepiece: Path | None = None
    sentencepiece_source: Path | None = None
    sentencepiece_target: Path | None = None
    source_prefix: str | None = None
    source_suffix: str | None = None
    target_prefix: str | None = None
    max_source_positions: int | None = None
    max_target_positions: int | None = None
    engine: str = "auto"
    device: str = "auto"
    compute_type: str = "float32"
    threads: int | None = None
    workers: int | None = None
    max_tokens: int | None = None
    cache_dir: Path | None = None
    window: int = 2000

    def __post_init__(self) -> None:
        if (self.teacher_path is None) == (self.model is None):
            raise UserError(
                "expected --teacher-path with fairseq checkpoints, or --model with a CTranslate2 model folder"
            )

    @property
    def segmentation(self) -> dict[str, tuple[str, Path | None]]:
        """The flag and the SentencePiece model of each side, by `source` and `target`."""
        sides = {side: getattr(self, f"sentencepiece_{side}") for side in ("source", "target")}
        return {
            side: (f"--sentencepiece-{side}" if path else "--sentencepiece", path or self.sentencepiece)
            for side, path in sides.items()
        }

    @property
    def cores(self) -> int:
        """The number of CPU cores to use."""
        return self.threads or threads()


class Loaded(NamedTuple):
    """A model that was found and fits. Its engine is made by `make_engine`, which may take minutes."""

    make_engine: Callable[[], Engine]
    symbols: tuple[list[str], list[str]]  #: the source's and the target's
    inputs: dict[str, list[Path]]  #: the files that it is made from, by kind
    source_lang: str | None
    pair: str | None  #: the language pair, for a multilingual teacher
    translates: str | None  #: the direction, such as de-en, as far as the model or the options tell
    extra: int = 0  #: the number of tokens that are put around every source
    unspoken: frozenset[str] = frozenset()  #: language tokens, which are no part of a translation


def load(request: ModelRequest, search: DecodingOptions | None = None) -> Loaded:
    """Find the model of a request, for this search.

    Raises:
        UserError: if it cannot be loaded, does not fit the options, or the engine does not support it.
    """
    if request.model:
        return _from_model(request.model, request, search or DecodingOptions())
    return _from_checkpoints(str(request.teacher_path), request, search or DecodingOptions())


def _from_checkpoints(paths: str, request: ModelRequest, search: DecodingOptions) -> Loaded:
    from ..teachers.alone import load_teacher
    from ..teachers.languages import options_of
    from .engines.choose import choose_engine

    for name in MARKS:
        if getattr(request, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} needs --model")
    teacher = load_teacher(paths, request.teacher_data, request.source_lang, request.target_lang)
    limits = (request.max_source_positions, request.max_target_positions)
    source, target = (min(given or own, own) for given, own in zip(limits, teacher.max_positions, strict=True))
    teacher.max_positions = (source, target)
    cache = request.cache_dir or request.out.parent / "ctranslate2-models"
    inputs = {"teacher": teacher.paths, "dictionaries": [*teacher.dictionaries, *teacher.more_files]}
    symbols = (teacher.task.source_dictionary.symbols, teacher.task.target_dictionary.symbols)

    def make_engine() -> Engine:
        return choose_engine(teacher, search, request.engine, request.device, request.cores, cache)

    options = options_of(teacher.task)
    translates = f"{options.source_lang}-{options.target_lang}" if options.source_lang and options.target_lang else None
    return Loaded(
        make_engine, symbols, inputs, options.source_lang, teacher.pair, translates, unspoken=teacher.language_tokens
    )


def _from_model(model: Path, request: ModelRequest, search: DecodingOptions) -> Loaded:
    from .engines.choose import unsupported

    require("--model", "ctranslate2")
    if request.engine == "fairseq":
        raise UserError("--engine fairseq needs --teacher-path: fairseq cannot load a CTranslate2 model (--model)")
    if reason := unsupported(search):
        raise UserError(f"--model: {reason}. Give the fairseq checkpoint with --teacher-path")
    from .engines.ctranslate2_engine import CTranslate2Engine

    symbols = model_symbols(model, "source"), model_symbols(model)
    given = tuple(getattr(request, name) for name in MARKS)
    affixes, pair = choose_affixes(model, request.source_lang, request.target_lang, given)
    if pair is None and request.source_suffix is None and not read_config(model).get("add_source_eos", True):
        raise UserError(
            f"--model {model} adds no end-of-sentence token to a source (add_source_eos in its config.json). Give one "
            "with --source-suffix ('</s>' for most models), or --source-suffix '' for none"
        )
    recorded = read_export(model).get("max_positions") or (512, 512)
    source, target = request.max_source_positions or recorded[0], request.max_target_positions or recorded[-1]
    positions = (source + affixes.on_source, target) if pair is not None else (source, target)
    if pair is not None:
        print(f"--model {model}, {pair}: {affixes}", file=sys.stderr)
    exported = direction(model) or (None, None)
    source_lang, target_lang = request.source_lang or exported[0], request.target_lang or exported[1]
    translates = pair or (f"{source_lang}-{target_lang}" if source_lang and target_lang else None)
    files = sorted(path for path in model.iterdir() if path.is_file())

    def make_engine() -> Engine:
        return CTranslate2Engine(model, search, request.device, request.cores, positions, affixes)

    tokens = unspoken(model, affixes)
    return Loaded(make_engine, symbols, {"model": files}, source_lang, pair, translates, affixes.on_source, tokens)


def versions() -> dict[str, str]:
    packages = ("fairseq_lskd", "fairseq", "torch", "ctranslate2", "sentencepiece")
    return {
        "python": platform.python_version(),
        **{name: version_of(name) for name in packages if name in sys.modules},
    }
