"""The language pairs of a multilingual student, and the tokens that its exported folder needs for them."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..reading import shown
from ..teachers.alone import Teacher, load_teacher
from ..teachers.checkpoint import read_checkpoint
from ..teachers.compatibility import task_name
from ..teachers.languages import BART, MIXED, OF_PAIRS, marks_of, options_of, pairs_of, replaces_ends
from ..teachers.model_tokens import Affixes


def load_student(
    path: str, data: str | None, source: str | None, target: str | None
) -> tuple[Teacher, dict[str, Affixes]]:
    """Load a checkpoint to export.

    Args:
        data: the folder of its dictionaries, if they are elsewhere; source, target: its languages.

    Returns:
        The student, and the tokens around sentences of each language pair. There are no pairs for a bilingual student.
        Without `source` and `target`, a student of `translation_multi_simple_epoch` has all of its pairs.

    Raises:
        UserError: as `load_teacher`, and if several pairs do not fit into one folder.
    """
    options = read_checkpoint(path)["cfg"]["task"]
    kind = task_name(options)
    if kind == BART:
        raise UserError(
            f"{path} was trained on the task {kind!r}, whose tokens `lskd export` does not support. Convert it with "
            "ct2-fairseq-converter --no_default_special_tokens --source_lang SRC --target_lang TGT, and translate "
            "with `lskd translate --model`"
        )
    if kind not in OF_PAIRS:
        return load_teacher(path, data, source, target), {}
    pairs = pairs_of(options)
    if source or target or not pairs:  # `load_teacher` asks for what is missing
        student = load_teacher(path, data, source, target)
        return student, {str(student.pair): student.affixes}
    if len(pairs) > 1 and (kind != MIXED or replaces_ends(options)):
        why = (
            "a language token takes the place of its end symbols (--lang-tok-replacing-bos-eos)"
            if kind == MIXED
            else f"--task {kind} has a model for each pair"
        )
        raise UserError(
            f"{path} translates several language pairs, and {why}, so a folder serves one pair. Choose it with "
            f"--source-lang and --target-lang: {shown(', '.join(pairs))}"
        )
    student = load_teacher(path, data, *pairs[0].split("-"))
    task, found = student.task, {}
    for pair in pairs:
        one, other = pair.split("-")
        both = task.source_dictionary, task.target_dictionary
        marks = marks_of(Path(path), options_of(task), (one, other), both, len(both[1]))
        found[pair] = Affixes(*marks.symbols(task))
    return student, found


def with_tags(student: Teacher, prefix: str) -> dict[str, Affixes]:
    """Return the language pair of a student of which each source begins with tags, such as `eng_Latn hin_Deva`.

    Raises:
        UserError: if the student adds language tokens itself, or its dictionary lacks a tag.
    """
    flag, tags = f"--source-prefix {prefix!r}", tuple(prefix.split())
    if student.marks is not None:
        raise UserError(
            f"{flag}: the task of {student.paths[0]} adds its language tokens itself. Leave it out, and choose a pair "
            "with --source-lang and --target-lang"
        )
    if lacking := [tag for tag in tags if tag not in student.task.source_dictionary.indices]:
        raise UserError(
            f"{flag}: {student.dictionaries[0]} has no {' and no '.join(lacking)}; expected the tags with which the "
            "sources of the student's training data begin"
        )
    options = options_of(student.task)
    return {f"{options.source_lang}-{options.target_lang}": Affixes(source_prefix=tags)}
