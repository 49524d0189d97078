"""`--teacher-path de-en=A.pt,fr-en=B.pt`: a teacher for each language pair of a multilingual student.

Tan et al. (ICLR 2019, *Multilingual Neural Machine Translation with Knowledge Distillation*) teach one student with the
bilingual models of its pairs. A bilingual teacher has no language tokens, so it reads the student's batch without them.
"""

from __future__ import annotations

import copy
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import utils
from fairseq.data import Dictionary
from torch import Tensor

from ..errors import UserError
from .compatibility import task_name
from .languages import MIXED, OF_PAIRS, Marks, added_types, marks_of, options_of
from .task import load_dictionary

#: In place of a path: a pair without a teacher.
NONE = "none"
_NAMED = r"[A-Za-z0-9_]+-[A-Za-z0-9_]+="


def by_pair(value: str | None, flag: str = "--teacher-path") -> dict[str, str] | None:
    """Parse `PAIR=PATH,PAIR=PATH`, where a path may be several, joined by ":".

    Returns:
        the path of each pair, in order; None if the value does not begin with a pair.

    Raises:
        UserError: if a pair occurs twice or has no path.
    """
    if value is None or not re.match(_NAMED, value):
        return None
    named = [part.partition("=")[::2] for part in re.split(f",(?={_NAMED})", value)]
    if twice := [pair for pair, count in Counter(pair for pair, _ in named).items() if count > 1]:
        raise UserError(f"{flag} names {', '.join(twice)} twice. Give each pair once; join an ensemble by ':'")
    if empty := [pair for pair, path in named if not path]:
        raise UserError(f"{flag} has no path for {', '.join(empty)}. Give a path, or {NONE} for a pair without teacher")
    return dict(named)


def paths_in(value: str) -> list[str]:
    """Return all paths in the value of `--teacher-path` or `--teacher-cache`, with or without pairs."""
    named = by_pair(value)
    joined = [value] if named is None else [path for path in named.values() if path != NONE]
    return [path for each in joined for path in each.split(":")]


def check_pairs(flag: str, named: dict[str, str], pairs: Sequence[str], task: str | None) -> None:
    """Check that teachers are named for the pairs of a task, and for no others.

    Args:
        pairs: the language pairs of the task, empty for a bilingual task.
        task: its name.

    Raises:
        UserError: if not, or if no pair has a teacher.
    """
    if task not in OF_PAIRS:
        raise UserError(
            f"{flag} names teachers of language pairs, {', '.join(named)}, but --task {task} has one pair. Give its "
            f"path alone: {flag} {next(iter(named.values()))}"
        )
    problems = []
    if unknown := [pair for pair in named if pair not in pairs]:
        problems.append(f"{', '.join(unknown)} is not in --lang-pairs, which has {', '.join(pairs)}")
    if missing := [pair for pair in pairs if pair not in named]:
        problems.append(f"{', '.join(missing)} has no teacher. Add {missing[0]}=PATH, or {missing[0]}={NONE} for none")
    if set(named.values()) == {NONE}:
        problems.append("no pair has a teacher")
    if problems:
        raise UserError(f"{flag}: {'; '.join(problems)}")


@dataclass(frozen=True)
class PairTask:
    """The bilingual task that a multilingual task has for one pair: all that teachers and caches ask a task for."""

    cfg: Namespace
    source_dictionary: Dictionary
    target_dictionary: Dictionary
    marks: Marks  #: the language tokens that the multilingual task adds


def task_of_pair(task: Any, pair: str) -> PairTask:
    """Return the bilingual task of a pair of `translation_multi_simple_epoch` or `multilingual_translation`."""
    options, kind = options_of(task), task_name(options_of(task))
    source, target = pair.split("-")
    both = (
        (task.data_manager.get_source_dictionary(source), task.data_manager.get_target_dictionary(target))
        if kind == MIXED
        else (task.dicts[source], task.dicts[target])
    )
    own = [
        _without_language_tokens(each, options, kind, task.langs, _types_in_file(options, side, language))
        for each, side, language in zip(both, ("source", "target"), (source, target), strict=True)
    ]
    marks = marks_of(Path("--lang-pairs"), options, (source, target), both, len(own[1]))
    # fairseq truncates a source before it adds the language token.
    truncates = bool(getattr(options, "truncate_source", False))
    cfg = Namespace(
        _name="translation",
        data=options.data,
        source_lang=source,
        target_lang=target,
        max_source_positions=options.max_source_positions - (0 if truncates else marks.before_source),
        max_target_positions=options.max_target_positions - marks.shift,
        truncate_source=truncates,
        upsample_primary=getattr(options, "upsample_primary", 1),
        train_subset=getattr(options, "train_subset", "train"),
    )
    return PairTask(cfg, own[0], own[1], marks)


def _types_in_file(options: Any, side: str, language: str) -> int | None:
    """Return the size of a task's dictionary before language tokens are added: the file may have some, too."""
    given = getattr(options, "fixed_dictionary", None) or getattr(options, f"{side}_dict", None)
    path = Path(given or Path(utils.split_paths(options.data or "")[0], f"dict.{language}.txt"))
    return len(load_dictionary(path)) if path.is_file() else None


def _without_language_tokens(
    dictionary: Dictionary, options: Any, task: str | None, languages: Sequence[str], in_file: int | None
) -> Dictionary:
    """Return a copy of a dictionary without the types that the task has added at its end.

    Args:
        in_file: the number of types that the dictionary's file has, special ones included; None if it is gone.
    """
    added = added_types(options, task, languages)
    own, size = copy.deepcopy(dictionary), len(dictionary)
    while size > (in_file or 0) and own.symbols[size - 1] in added:
        size -= 1
    for symbol in own.symbols[size:]:
        del own.indices[symbol]
    del own.symbols[size:], own.count[size:]
    return own


def without_marks(marks: Marks, net_input: dict[str, Any], eos: int) -> dict[str, Any]:
    """Return the bilingual `net_input` of sentences that have the language tokens `marks`: the inverse of `Marks.read`.

    Columns that have only padding are left out.
    """
    tokens, lengths = net_input["src_tokens"], net_input["src_lengths"]
    previous, padding = net_input["prev_output_tokens"], marks.padding
    if marks.source is not None and marks.replacing:
        ends = tokens.ne(padding).int().flip(1).argmax(1)
        tokens = tokens.scatter(1, (tokens.size(1) - 1 - ends).unsqueeze(1), eos)
    elif marks.source is not None:
        # Padding may be on the left or on the right of a sentence; its first token is the language token.
        first = tokens.ne(padding).int().argmax(1, keepdim=True)
        before = torch.arange(tokens.size(1) - 1, device=tokens.device) < first
        tokens, lengths = torch.where(before, tokens[:, :-1], tokens[:, 1:]), lengths - 1
    if marks.target is not None:
        start = torch.full_like(previous[:, :1], eos)
        previous = torch.cat([start, previous[:, 1 + marks.shift :]], 1)
    return {
        "src_tokens": tokens[:, _used(tokens, padding)],
        "src_lengths": lengths,
        "prev_output_tokens": previous[:, _used(previous, padding)],
    }


def _used(tokens: Tensor, padding: int) -> Tensor:
    """Return which columns have a token that is not padding, `[T]` bool."""
    return tokens.ne(padding).any(0)
