"""Encode a bitext in pieces, with its vocabulary and fairseq's dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sentencepiece

from ..errors import UserError
from ..files import sha256
from ..names import plain
from .bitext import Bitext, check_bitext, check_unchanged
from .chunks import Chunk
from .dictionary import by_frequency, write_dictionary
from .moses import CODES, learn_codes, require_moses
from .outputs import Manifest
from .passes import Counts, count_pairs, count_words, encode_splits, files_of, tokenise
from .segment import BytePairs, Pieces, SentencePieces
from .sentencepiece_model import load_model
from .shifting import check_steps
from .vocabulary import (
    MANIFEST,
    VocabularyOptions,
    dictionary_pieces,
    joined,
    model_name,
    train_model,
    write_vocabulary,
)
from .writing_systems import character_coverage


def encode_bitext(
    raw: Path,
    out: Path,
    source_lang: str,
    target_lang: str,
    options: VocabularyOptions | None = None,
    spm_model: Path | Sequence[Path] | None = None,
    workers: int = 1,
    allow_shifted: bool = False,
) -> bool:
    """Check the bitext in `raw`, train a vocabulary on it (or use `spm_model`), and write the encoded bitext to `out`.

    With `allow_shifted`, sides that are out of step give a warning.
    `spm_model` is one model for both languages, or two: the source's and the target's.
    `out` gets every split in pieces, the model, its vocabulary, `dict.LANG.txt` of both languages and
    `encode.json`. Return False if `out` is up to date. Raise `UserError` if `out` holds something else, and for
    problems with the bitext, the model or the vocabulary size.
    """
    languages = _checked_languages(source_lang, target_lang, workers)
    if options is not None and spm_model is not None:
        raise ValueError("expected options or spm_model, not both")
    given = [spm_model] if isinstance(spm_model, Path) else list(spm_model or ())
    models = [load_model(path).serialized_model_proto() for path in given]
    bitext = check_bitext(raw, languages)
    inputs = _digests(bitext)
    coverages: dict[tuple[str, ...], float] = {}  # by the languages of each vocabulary
    if given:
        shown: dict[str, Any] = {"separate": True} if len(given) > 1 else {}
        names = ["--spm-model"] if len(given) == 1 else [f"--spm-model of {language}" for language in languages]
        inputs |= {name: sha256(path) for name, path in zip(names, given, strict=True)}
    else:
        options = options or VocabularyOptions()
        shown = _shown(options, bitext)
        for _, inside in joined(languages, options.separate):
            coverages[inside] = options.character_coverage or character_coverage(inside)
        values = list(coverages.values())
        shown["character-coverage"] = values[0] if len(set(values)) == 1 else dict(zip(languages, values, strict=True))
    manifest = Manifest(MANIFEST, _pair(languages) | shown, inputs, libraries=("sentencepiece",))
    if manifest.is_up_to_date(out):
        return False
    _check_steps(raw, bitext, allow_shifted)
    with manifest.written(out) as (folder, facts):
        if options:
            models = [
                train_model(count_words(bitext, inside, options, workers), options, coverage)
                for inside, coverage in coverages.items()
            ]
        _encode(folder, facts, bitext, models, workers)
    return True


def encode_source(raw: Path, out: Path, language: str, spm_model: Path, workers: int = 1) -> bool:
    """Encode `train` in the source language alone, with the SentencePiece model of a bitext. See `encode_bitext`.

    `out` gets `train.LANG`, the model, its vocabulary, `dict.LANG.txt` and `encode.json`.
    """
    plain(language, "--source-lang")
    if workers < 1:
        raise UserError(f"--workers {workers}: expected at least 1")
    proto = load_model(spm_model).serialized_model_proto()
    bitext = check_bitext(raw, (language,), ("train",))
    inputs = _digests(bitext) | {"--spm-model": sha256(spm_model)}
    manifest = Manifest(MANIFEST, {"source-lang": language}, inputs, libraries=("sentencepiece",))
    if manifest.is_up_to_date(out):
        return False
    with manifest.written(out) as (folder, facts):
        _encode(folder, facts, bitext, [proto], workers)
    return True


def _encode(folder: Path, facts: dict[str, Any], bitext: Bitext, models: Sequence[bytes], workers: int) -> None:
    """Write the SentencePiece models (one for each language, or a joint one), all pieces, and the dictionaries."""
    symbols: dict[str, list[str]] = {}
    segmenters: dict[str, Callable[[Chunk], Pieces]] = {}
    for (name, inside), proto in zip(joined(bitext["train"], len(models) > 1), models, strict=True):
        model = sentencepiece.SentencePieceProcessor(model_proto=proto)
        path = folder / model_name(name)
        path.write_bytes(proto)
        write_vocabulary(path.with_suffix(".vocab"), model)
        symbols |= dict.fromkeys(inside, dictionary_pieces(model))
        segmenters |= dict.fromkeys(inside, SentencePieces(proto))
    counts = encode_splits(segmenters, bitext, folder, workers)
    check_unchanged(files_of(bitext).values())
    _finish(folder, facts, bitext, counts, symbols, {lang: counts[f"train.{lang}"] for lang in symbols})


def encode_classically(
    raw: Path,
    out: Path,
    source_lang: str,
    target_lang: str,
    options: VocabularyOptions,
    split_hyphens: bool = False,
    workers: int = 1,
    allow_shifted: bool = False,
) -> bool:
    """Encode a bitext with Moses' tokenisation and BPE. `out` gets `bpe.codes` instead of a model. See `encode_bitext`.

    `options.vocab_size` is the number of merges. Codes are joint. Dictionaries hold the pieces of the training text by
    frequency, as those of fairseq-preprocess: one for both languages or, with `options.separate`, one for each.
    """
    languages = _checked_languages(source_lang, target_lang, workers)
    require_moses()
    bitext = check_bitext(raw, languages)
    shown = {"recipe": "moses-bpe"} | _shown(options, bitext) | {"split-hyphens": split_hyphens}
    del shown["model-type"]
    manifest = Manifest(MANIFEST, _pair(languages) | shown, _digests(bitext), libraries=("sacremoses", "subword-nmt"))
    if manifest.is_up_to_date(out):
        return False
    _check_steps(raw, bitext, allow_shifted)
    with manifest.written(out) as (folder, facts):
        tokenised = {name: folder / f"{name}.tokens" for name in files_of(bitext)}
        words = tokenise(bitext, tokenised, options, split_hyphens, workers)
        codes = learn_codes(words, options.vocab_size)
        (folder / CODES).write_text(codes, encoding="utf-8", newline="\n")
        counts = encode_splits(dict.fromkeys(languages, BytePairs(codes)), bitext, folder, workers, tokenised)
        check_unchanged(files_of(bitext).values())
        for path in tokenised.values():
            path.unlink()
        symbols: dict[str, list[str]] = {}
        counted: dict[str, Mapping[str, int]] = {}
        for _, inside in joined(languages, options.separate):
            both = sum((counts[f"train.{language}"] for language in inside), Counter[str]())
            symbols |= dict.fromkeys(inside, by_frequency(both))
            counted |= dict.fromkeys(inside, both)
        _finish(folder, facts, bitext, counts, symbols, counted)
    return True


def _check_steps(raw: Path, bitext: Bitext, allow_shifted: bool) -> None:
    """As `check_steps`. `lskd data prepare` checks a text before it is cleaned, and generated text is aligned."""
    if not any((raw / record).exists() for record in ("prepare.json", "truth.json")):
        check_steps(bitext, allow_shifted)


def _checked_languages(source_lang: str, target_lang: str, workers: int) -> tuple[str, str]:
    for flag, language in (("--source-lang", source_lang), ("--target-lang", target_lang)):
        plain(language, flag)
    if source_lang == target_lang:
        raise UserError(f"--source-lang and --target-lang are both {source_lang}: expected two languages")
    if workers < 1:
        raise UserError(f"--workers {workers}: expected at least 1")
    return source_lang, target_lang


def _pair(languages: Sequence[str]) -> dict[str, Any]:
    return {"source-lang": languages[0], "target-lang": languages[1]}


def _digests(bitext: Bitext) -> dict[str, str]:
    return {name: side.sha256 for name, side in files_of(bitext).items()}


def _shown(options: VocabularyOptions, bitext: Bitext) -> dict[str, Any]:
    """Return the options that affect the result, by flag name. A sample of all pairs is recorded as no sample."""
    shown = {name.replace("_", "-"): value for name, value in asdict(options).items()}
    if options.sample is None or options.sample >= count_pairs(bitext):
        shown["sample"] = None
        del shown["seed"]  # only used to choose the sample
    return {name: value for name, value in shown.items() if value not in (False, ()) and name != "character-coverage"}


def _finish(
    folder: Path,
    facts: dict[str, Any],
    bitext: Bitext,
    counts: Counts,
    symbols: Mapping[str, list[str]],
    counted: Mapping[str, Mapping[str, int]],
) -> None:
    """Write the dictionaries, and add the sizes of dictionaries and the counts of pieces to `facts`."""
    for lang, pieces in symbols.items():
        write_dictionary(folder / f"dict.{lang}.txt", pieces, counted[lang])
    known = {lang: frozenset(pieces) for lang, pieces in symbols.items()}
    sizes = {lang: len(pieces) for lang, pieces in symbols.items()}
    facts["dictionary_size"] = next(iter(sizes.values())) if len(set(sizes.values())) == 1 else sizes
    facts["counts"] = {
        name: {
            "lines": side.lines,
            "pieces": counts[name].total(),
            "unknown": sum(n for piece, n in counts[name].items() if piece not in known[name.partition(".")[2]]),
        }
        for name, side in files_of(bitext).items()
    }
