"""Multilingual tasks: the language tokens that they add to dictionaries and sentences."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fairseq.data import Dictionary
from fairseq.data.multilingual.multilingual_utils import augment_dictionary, get_lang_tok
from fairseq.tasks.multilingual_translation import _lang_token
from torch import Tensor

from ..errors import UserError
from ..models import mask_indices
from ..reading import Kind, misfit, read_text
from .known import base_task

#: The task in which a batch mixes language pairs, and language tokens in a sentence tell the languages.
MIXED = "translation_multi_simple_epoch"
#: The task in which the model has a part for each pair, and each batch has one pair.
PARTED = "multilingual_translation"
BART = "translation_from_pretrained_bart"
LEVENSHTEIN = "translation_lev"
#: Tasks with data of several language pairs.
OF_PAIRS = (MIXED, PARTED)
_NAME = "[A-Za-z0-9_]+?"
_PAIR = re.compile(r"[A-Za-z0-9_]+-[A-Za-z0-9_]+")
#: The tasks' options that control language tokens.
_MARKS = {
    MIXED: ("encoder_langtok", "decoder_langtok", "lang_tok_replacing_bos_eos", "lang_tok_style"),
    PARTED: ("encoder_langtok", "decoder_langtok"),
    BART: ("prepend_bos",),
}
#: Types that NLLB's branch of fairseq adds after the language tokens, with --add-data-source-prefix-tags.
DATA_TAGS = ("<MINED_DATA>", "<MMT_BT_DATA>", "<SMT_BT_DATA>")
_STYLE = Kind("multilingual or mbart", ("multilingual", "mbart", None).__contains__)
_SHAPE: dict[str, Any] = {
    **{"lang_pairs?": (str, [str], type(None)), "langs?": (str, [str], type(None)), "lang_dict?": (str, type(None))},
    **{"lang_tok_style?": _STYLE, "langtoks_specs?": ([str], type(None))},
    **{"encoder_langtok?": (str, type(None)), "decoder_langtok?": (bool, type(None))},
    **{"langtoks?": (dict, type(None)), "lang_tok_replacing_bos_eos?": bool},
}


def options_of(task: Any) -> Any:
    """Return a task's options: `cfg`, or `args` in old tasks."""
    return getattr(task, "cfg", None) or getattr(task, "args", None)


def pairs_of(options: Any) -> list[str]:
    """Return the language pairs of a multilingual task, such as `de-en`; empty if the option names a file of pairs."""
    pairs = getattr(options, "lang_pairs", None) or []
    pairs = pairs.split(",") if isinstance(pairs, str) else list(pairs)
    return pairs if all(map(_PAIR.fullmatch, pairs)) else []


def check_languages(path: Path, options: Any) -> None:
    """Raise a `UserError` if the language options of a checkpoint do not have fairseq's form."""
    names = [key.rstrip("?") for key in _SHAPE]
    found = {name: getattr(options, name) for name in names if hasattr(options, name)}
    if problem := misfit(found, _SHAPE):
        raise UserError(f"{path} is not a fairseq checkpoint, or was edited: task.{problem}")


def mark_options(options: Any, task: str | None) -> dict[str, Any]:
    """Return the options that control which tokens a task adds to its sentences, by flag."""
    found = {name: getattr(options, name, None) or None for name in _MARKS.get(task or "", ())}
    if task == MIXED:
        # --langtoks overrides the other options.
        found["encoder_langtok"], found["decoder_langtok"] = _specs(options)
    return {f"--{name.replace('_', '-')}": value for name, value in found.items()}


def _specs(options: Any) -> tuple[str | None, str | None]:
    """Return which language token precedes a source and a target sentence: "src", "tgt" or None."""
    main = (getattr(options, "langtoks", None) or {}).get("main")
    if main is not None:
        return main[0] or None, main[1] or None
    return getattr(options, "encoder_langtok", None), "tgt" if getattr(options, "decoder_langtok", None) else None


def find_file(option: str, recorded: str, checkpoint: Path, given: str | None) -> Path:
    """Find a file that a multilingual checkpoint records: in the folder `given`, beside the checkpoint, or at its path.

    Raises:
        UserError: if it is not found.
    """
    places = [Path(given, Path(recorded).name)] if given else []
    places += [checkpoint.parent / Path(recorded).name, Path(recorded)]
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        f"the teacher {checkpoint} was trained with {option} {recorded}, but {places[0].name} was not found there or "
        "beside the checkpoint. Put it beside the checkpoint, or name its folder with --teacher-data"
    )


def languages_in_order(options: Any, checkpoint: Path, given: str | None = None) -> list[str]:
    """Return the languages of a `translation_multi_simple_epoch` checkpoint, in the order of their tokens.

    The list of --lang-dict, or of the pairs, is often in a file that is gone. If the dictionary of --fixed-dictionary
    has the tokens, as M2M-100's has, it tells the languages.

    Raises:
        UserError: if a file is needed and not found.
    """
    if recorded := getattr(options, "lang_dict", None):
        try:
            lines = read_text(find_file("--lang-dict", recorded, checkpoint, given)).splitlines()
        except UserError:
            if known := _in_dictionary(options, checkpoint, given):
                return known
            raise
        return [line.strip() for line in lines if line.strip()]
    if langs := getattr(options, "langs", None):
        return langs.split(",") if isinstance(langs, str) else list(langs)
    listed = sorted({language for pair in pairs_of(options) for language in pair.split("-")})
    return listed or _in_dictionary(options, checkpoint, given)


def _in_dictionary(options: Any, checkpoint: Path, given: str | None) -> list[str]:
    """Return the languages whose tokens are in the file of --fixed-dictionary."""
    recorded = getattr(options, "fixed_dictionary", None)
    if not recorded:
        return []
    start, _, end = get_lang_tok("|", getattr(options, "lang_tok_style", None) or "multilingual").partition("|")
    lines = read_text(find_file("--fixed-dictionary", recorded, checkpoint, given)).splitlines()
    token = re.compile(rf"{re.escape(start)}({_NAME})({re.escape(end)}) \S+")
    return [found[1] for line in lines if (found := token.match(line))]


def complete(dictionary: Dictionary, options: Any, task: str | None, languages: Sequence[str]) -> Dictionary:
    """Return a copy of a dictionary from a file, with the types that the task adds."""
    whole = copy.deepcopy(dictionary)
    if task == MIXED:
        augment_dictionary(
            whole,
            list(languages),
            getattr(options, "lang_tok_style", None) or "multilingual",
            getattr(options, "langtoks_specs", None) or ["main"],
            getattr(options, "extra_data", None),
        )
        add_data_tags(whole, options)
    elif task == PARTED and (getattr(options, "encoder_langtok", None) or getattr(options, "decoder_langtok", None)):
        for language in sorted({language for pair in pairs_of(options) for language in pair.split("-")}):
            whole.add_symbol(_lang_token(language))
    elif task == BART:
        for language in (getattr(options, "langs", None) or "").split(","):
            whole.add_symbol(f"[{language}]")
        whole.add_symbol("<mask>")
    return whole


def added_types(options: Any, task: str | None, languages: Sequence[str]) -> set[str]:
    """Return the types that a task adds to a dictionary, such as language tokens."""
    empty = Dictionary()
    return set(complete(empty, options, task, languages).symbols) - set(empty.symbols)


def add_data_tags(dictionary: Dictionary, options: Any) -> None:
    """Add the types of --add-data-source-prefix-tags, which fairseq 0.12.2 does not know, to a task's dictionary."""
    if getattr(options, "add_data_source_prefix_tags", False):
        for tag in DATA_TAGS:
            dictionary.add_symbol(tag)


class Side(NamedTuple):
    """A dictionary of a task."""

    name: str  #: source or target
    language: str
    dictionary: Dictionary
    embedding: str  #: name of the embedding matrix in a checkpoint, which has one row per type


def sides_of(task: Any, languages: tuple[str, str] | None, kind: str | None) -> Iterator[Side]:
    """Yield the dictionaries of a task, each side and language once.

    Args:
        languages: source and target, if the task has one pair.
    """
    found = [("", languages)] if languages else []
    if kind in OF_PAIRS:
        found = [(pair, (pair.partition("-")[0], pair.partition("-")[2])) for pair in pairs_of(task)]
    seen = set()
    for pair, (source, target) in found:
        for name, language, part in (("source", source, "encoder"), ("target", target, "decoder")):
            if (name, language) in seen:
                continue
            seen.add((name, language))
            ours = task.dicts[language] if kind == PARTED else getattr(task, f"{name}_dictionary")
            prefix = f"models.{pair}." if kind == PARTED else ""
            yield Side(name, language, ours, f"{prefix}{part}.embed_tokens.weight")


@dataclass(frozen=True)
class Marks:
    """The language tokens that a multilingual teacher reads in sentences of one pair, and a bilingual batch lacks."""

    source: int | None  #: the token before a source sentence
    target: int | None  #: the token before a translation
    replacing: bool  #: whether the tokens replace the end symbol
    classes: int  #: size of the student's vocabulary; the teacher's language tokens come after it and are left out
    padding: int

    @property
    def shift(self) -> int:
        """The number of positions by which the teacher predicts a target token later."""
        return int(self.target is not None and not self.replacing)

    @property
    def before_source(self) -> int:
        """The number of additional tokens in the teacher's source."""
        return int(self.source is not None and not self.replacing)

    def symbols(self, task: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the symbols before a source sentence, after it, and before a translation.

        A token in place of the end symbol is after the source. In a translation it is no symbol of its own, but what
        the decoder starts with (see `start`).
        """
        source = () if self.source is None else (task.source_dictionary[self.source],)
        target = () if self.target is None else (task.target_dictionary[self.target],)
        return ((), source, ()) if self.replacing else (source, (), target)

    def start(self, task: Any) -> str:
        """Return the symbol that the decoder starts with: the end symbol, or the language token in its place."""
        dictionary = task.target_dictionary
        return str(dictionary.eos_word if self.target is None or not self.replacing else dictionary[self.target])

    def read(self, net_input: dict[str, Any]) -> dict[str, Any]:
        """Convert the `net_input` of a bilingual batch to that of the teacher's task. The target side is optional."""
        tokens, lengths = net_input["src_tokens"], net_input["src_lengths"]
        previous = net_input.get("prev_output_tokens")
        if self.source is not None and self.replacing:
            ends = tokens.ne(self.padding).int().flip(1).argmax(1)
            tokens = tokens.scatter(1, (tokens.size(1) - 1 - ends).unsqueeze(1), self.source)
        elif self.source is not None:
            # Padding may be on the left (fairseq's default) or on the right.
            first = tokens.ne(self.padding).int().argmax(1, keepdim=True)
            tokens = torch.cat([torch.full_like(tokens[:, :1], self.padding), tokens], 1)
            tokens, lengths = tokens.scatter(1, first, self.source), lengths + 1
        if self.target is not None and previous is not None:
            mark = torch.full_like(previous[:, :1], self.target)
            before = previous[:, : self.shift]
            previous = torch.cat([before, mark, previous[:, 1:]], 1)
        read = {"src_tokens": tokens, "src_lengths": lengths, "prev_output_tokens": previous}
        return net_input | {name: tensor for name, tensor in read.items() if tensor is not None}

    def places(self, mask: Tensor, columns: int) -> Tensor:
        """Return the positions of a bilingual batch's tokens in the teacher's flattened batch, `[N]` int64.

        Args:
            mask: as for `models.project`.
            columns: target length of the bilingual batch.
        """
        indices = mask_indices(mask)
        return indices + self.shift * (indices.div(columns, rounding_mode="floor") + 1)


def replaces_ends(options: Any) -> bool:
    """Whether language tokens take the place of end symbols."""
    kind = base_task(getattr(options, "_name", None) or getattr(options, "task", None))
    return kind == PARTED or bool(getattr(options, "lang_tok_replacing_bos_eos", False))


def marks_of(
    path: Path, options: Any, pair: tuple[str, str], dictionaries: tuple[Dictionary, Dictionary], classes: int
) -> Marks:
    """Return the language tokens of a teacher of a task of `OF_PAIRS` for a language pair.

    Args:
        dictionaries: the teacher's source and target dictionaries, from `complete`.
        classes: the student's types.

    Raises:
        UserError: if a dictionary lacks a language token.
    """
    style = getattr(options, "lang_tok_style", None) or "multilingual"
    specs = _specs(options)
    found: list[int | None] = []
    for spec, dictionary in zip(specs, dictionaries, strict=True):
        if not spec:
            found.append(None)
            continue
        language = pair[0] if spec.startswith("src") else pair[1]
        token = get_lang_tok(language, style, spec)
        index = dictionary.index(token)
        if index == dictionary.unk():
            raise UserError(f"the teacher {path} has no language token {token} in its dictionary")
        found.append(index)
    return Marks(found[0], found[1], replaces_ends(options), classes, dictionaries[1].pad())
