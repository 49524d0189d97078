"""The tokens that a CTranslate2 model needs around its text, such as language tokens and the end of a source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..names import PLAIN
from ..reading import POSITIVE, read_json, shown
from .model_folder import model_symbols, read_config

#: What `lskd export` writes into a folder.
EXPORT = "export.json"
#: The form of language tokens: `__de__` (M2M-100, fairseq), `deu_Latn` (NLLB), and mBART's: `de_DE`, and `[de_DE]` or
#: `[de]` (fairseq). `[de]` may be any token in the vocabulary of another model.
_LANGUAGE = re.compile(
    r"__[a-z]{2,3}(_[A-Za-z]+)?__|[a-z]{3}_[A-Z][a-z]{3}"
    r"|(?P<mbart>\[?[a-z]{2}_[A-Z]{2}\]?|(?P<bare>\[[a-z]{2,3}\]))"
)
_MASK = "<mask>"  # fairseq adds it after mBART's tokens
_AFFIXES = {"source_prefix": str, "source_suffix": str, "target_prefix": str}
_EXPORT = {"pairs?": {str: _AFFIXES}, "language_tokens?": [str], "max_positions?": [POSITIVE]}
_EXPORT |= dict.fromkeys(("source_lang?", "target_lang?"), (PLAIN, type(None)))


class Affixes(NamedTuple):
    """The tokens around the sentences that a model reads and writes."""

    source_prefix: tuple[str, ...] = ()
    source_suffix: tuple[str, ...] = ()  #: without the end symbol if CTranslate2 adds it (add_source_eos)
    target_prefix: tuple[str, ...] = ()

    @classmethod
    def split(cls, values: Sequence[str | None]) -> Affixes:
        """Split the values of `--source-prefix`, `--source-suffix` and `--target-prefix` at white space."""
        return cls(*(tuple((value or "").split()) for value in values))

    @property
    def on_source(self) -> int:
        """The number of tokens around a source."""
        return len(self.source_prefix) + len(self.source_suffix)

    def __str__(self) -> str:
        """The affixes as flags, for messages."""
        given = (f"--{name.replace('_', '-')} {value!r}" for name, value in self.written().items() if value)
        return ", ".join(given) or "no language tokens"

    def written(self) -> dict[str, str]:
        """Return the affixes by name, as values of the flags."""
        return {name: " ".join(tokens) for name, tokens in self._asdict().items()}


class Chosen(NamedTuple):
    """The affixes for a language pair."""

    affixes: Affixes
    pair: str | None  #: the pair that they are for; None if they are for all that the model translates


def read_export(folder: Path) -> dict[str, Any]:
    """Return what `lskd export` recorded of a folder for translation; {} for a folder of another program.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / EXPORT
    return read_json(path, _EXPORT, "the export.json of `lskd export`") if path.is_file() else {}


def direction(folder: Path) -> tuple[str, str] | None:
    """Return source and target language of a folder that `lskd export` wrote for one pair; None for other folders."""
    record = read_export(folder)
    source, target = record.get("source_lang"), record.get("target_lang")
    return (source, target) if source and target else None


def language_tokens(folder: Path, kind: str = "target") -> list[str]:
    """Return the language tokens in a model's vocabulary; empty if there are fewer than two."""
    symbols = model_symbols(folder, kind)
    of_mbart = _MASK in symbols
    matches = filter(None, map(_LANGUAGE.fullmatch, symbols))
    found = [match[0] for match in matches if of_mbart or not match["bare"]]
    return found if len(found) > 1 else []


def unspoken(folder: Path, affixes: Affixes) -> frozenset[str]:
    """Return the language tokens that are no part of a translation, whatever the model generates."""
    record = read_export(folder)
    if "language_tokens" in record:
        return frozenset(record["language_tokens"])
    return frozenset(language_tokens(folder) if affixes.source_prefix or affixes.target_prefix else ())


def choose_affixes(
    folder: Path, source: str | None, target: str | None, given: Sequence[str | None], whose: str = ""
) -> Chosen:
    """Return the tokens around the sentences of a language pair.

    Folders of `lskd export` record them. Other models are taken to have M2M-100's form (also NLLB's and mBART-50's):
    the language of a sentence is its first token. mBART-25's tokens are after the source's end symbol, and start the
    decoder, which has no start symbol of its own then.

    Args:
        given: `--source-prefix`, `--source-suffix` and `--target-prefix`. If one is not None, they are used as they
            are. An end symbol that the model needs and none of them names is added.
        whose: what decides on the languages if they are not from `--source-lang` and `--target-lang`, for messages.

    Raises:
        UserError: if the model is multilingual and the pair is not given, not known, or one of several, if a bilingual
            model was exported for other languages, or if the place of its language tokens is not known.
    """
    record, config = read_export(folder), read_config(folder)
    eos = config.get("eos_token") or "</s>"
    end = () if config.get("add_source_eos", True) else (eos,)
    if any(value is not None for value in given):
        own = Affixes.split(given)
        return Chosen(own if given[1] is not None else own._replace(source_suffix=end), None)
    if pairs := record.get("pairs"):
        return _recorded(folder, pairs, source, target)
    if (exported := direction(folder)) and (wanted := (source or exported[0], target or exported[1])) != exported:
        raise UserError(
            f"--model {folder} translates {exported[0]} -> {exported[1]}, expected {wanted[0]} -> {wanted[1]}"
            f"{whose or ' (--source-lang, --target-lang)'}. Name a model of this direction, or give the languages of "
            "the model with --source-lang and --target-lang"
        )
    tokens = [] if record else language_tokens(folder)
    if not tokens:
        return Chosen(Affixes(source_suffix=end), None)
    by_hand = (
        "Or give the tokens with --source-prefix, --source-suffix and --target-prefix ('' for none), in the form that "
        "the model was trained with"
    )
    if not (source and target):
        raise UserError(
            f"--model {folder} is multilingual, with language tokens such as {tokens[0]}. Choose its languages with "
            f"--source-lang and --target-lang. {by_hand}"
        )
    sides = ((source, language_tokens(folder, "source")), (target, tokens))
    found = [_token(language, known) for language, known in sides]
    if lacking := [language for (language, _), token in zip(sides, found, strict=True) if token is None]:
        raise UserError(
            f"--model {folder} has no language token for {' and '.join(map(repr, lacking))}"
            f"{whose or ' (--source-lang, --target-lang)'}. It has {shown(', '.join(tokens))}. {by_hand}"
        )
    one, other = map(str, found)
    pair, unstarted = f"{source}-{target}", starts_with_prefix(config)
    if unstarted and (form := _LANGUAGE.fullmatch(one)) and form["mbart"]:
        return Chosen(Affixes((), (*end, one), (other,)), pair)
    if one.startswith("[") and not unstarted:
        raise UserError(
            f"--model {folder} has language tokens in mBART's form, {one} and {other}, and does not tell where they "
            "belong. For a model of the task translation_from_pretrained_bart, convert it again with "
            "ct2-fairseq-converter --no_default_special_tokens. For one of translation_multi_simple_epoch, give "
            f"--source-prefix '{one}' --target-prefix '{other}'"
        )
    return Chosen(Affixes((one,), end, (eos, other) if unstarted else (other,)), pair)


def starts_with_prefix(config: dict[str, Any]) -> bool:
    """Whether the decoder starts with the first token of the target prefix, by a model's config.json."""
    return "decoder_start_token" in config and config["decoder_start_token"] is None


def forced_tokens(folder: Path, affixes: Affixes) -> int:
    """Return the number of tokens that a translation begins with and that are not the decoder's start.

    Raises:
        UserError: if the model needs a start, and the target prefix is empty.
    """
    starts = starts_with_prefix(read_config(folder))
    if starts and not affixes.target_prefix:
        raise UserError(
            f"--model {folder} does not tell what its decoder starts with (decoder_start_token in its config.json). "
            "Give it with --target-prefix ('</s>' for most models)"
        )
    return len(affixes.target_prefix) - int(starts)


def _recorded(folder: Path, pairs: dict[str, dict[str, str]], source: str | None, target: str | None) -> Chosen:
    one = next(iter(pairs))
    pair = f"{source or one.partition('-')[0]}-{target or one.partition('-')[2]}" if len(pairs) == 1 else None
    pair = pair or (f"{source}-{target}" if source and target else None)
    if pair is None:
        raise UserError(
            f"--model {folder} translates several language pairs. Choose one with --source-lang and --target-lang: "
            f"{shown(', '.join(pairs))}"
        )
    if pair not in pairs:
        raise UserError(
            f"--model {folder} was not exported for {pair} (--source-lang, --target-lang). Choose one of its pairs: "
            f"{shown(', '.join(pairs))}"
        )
    return Chosen(Affixes.split([pairs[pair][name] for name in _AFFIXES]), pair)


def _token(language: str, known: Sequence[str]) -> str | None:
    """Return a language's token; that of its only region or script if it names none (`deu` for `deu_Latn`)."""
    for token in (f"__{language}__", language, f"[{language}]"):
        if token in known:
            return token
    of_region = [token for token in known if token.strip("[]").startswith(f"{language}_")]
    return of_region[0] if len(of_region) == 1 else None
