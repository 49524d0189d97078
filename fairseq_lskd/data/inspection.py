"""Check texts before cleaning (alignment, languages, tokenisation), and gather what the cleaners need to know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..extras import is_installed
from .acquire.texts import Text
from .bitext import some_lines
from .clean.run import LEAST_SAMPLE, SAMPLE, Texts, make_plan, sample
from .clean.worker import Plan
from .corpora import OWN, Corpus, Part
from .language_id import GUESSED, guess, look_swapped, unknown_languages
from .parting import explain
from .tokenised import looks_tokenised

Held = list[tuple[Part, list[tuple[str, str]]]]  #: the parts of valid and test, with their pairs


def ready(corpus: Corpus, texts: dict[tuple[int, str], Text]) -> tuple[list[Texts], Held, Plan, list[str]]:
    """Check the texts. Return the training parts, the held-out ones, the plan for the cleaners, and warnings.

    Raises:
        UserError: for sides of different length, blank lines in valid or test, and languages that py3langid lacks.
    """
    if corpus.steps.language != "off":
        what = f"cleaning {corpus.name} by language"
        if unknown := unknown_languages(corpus.languages, what):
            raise UserError(f"{what}: py3langid does not know {', '.join(unknown)}. {_without_languages(corpus)}")
    _check_aligned(corpus, texts)
    held = _held_out(corpus, texts)
    numbers = [number for number, part in enumerate(corpus.parts) if part.split == "train"]
    train = [_pair(corpus, texts, number) for number in numbers]
    total = sum(part.lines for part in train)
    samples = [sample(part, max(LEAST_SAMPLE, SAMPLE * part.lines // max(total, 1)), corpus.steps) for part in train]
    inspected = [(sampled.name, pairs) for sampled, pairs in zip(train, samples, strict=True)]
    inspected += [(part.name, pairs) for part, pairs in held]
    warnings = _odd_languages(corpus, inspected) + _tokenised(corpus, inspected)
    held_out = [pair for _, pairs in held for pair in pairs]
    return train, held, make_plan(samples, corpus.steps, corpus.languages, held_out, corpus.hold_out), warnings


def _pair(corpus: Corpus, texts: dict[tuple[int, str], Text], number: int) -> Texts:
    source, target = (texts[number, language] for language in corpus.languages)
    return Texts(corpus.parts[number].name, (source.path, target.path), source.lines)


def _check_aligned(corpus: Corpus, texts: dict[tuple[int, str], Text]) -> None:
    problems = []
    for number, part in enumerate(corpus.parts):
        source, target = (texts[number, language] for language in corpus.languages)
        if not source.lines or not target.lines:
            empty = source if not source.lines else target
            problems.append(f"{_named(part)}: {empty.path} is empty")
        elif source.lines != target.lines:
            why = explain(source.path, target.path)
            problems.append(
                f"{_named(part)}: {source.path} has {source.lines:,} lines, {target.path} {target.lines:,}"
                + (f"; {why}" if why else "")
            )
    if problems:
        listed = "\n  ".join(problems)
        raise UserError(f"the two sides of a bitext must have the same number of lines, and at least one:\n  {listed}")


def _named(part: Part) -> str:
    return part.split if part.name == part.split else f"{part.split}, {part.name}"


def _held_out(corpus: Corpus, texts: dict[tuple[int, str], Text]) -> Held:
    """Return the pairs of the held-out parts unchanged, because scores are only comparable on the original text.

    Raises:
        UserError: with all blank lines.
    """
    held: Held = []
    blank = []
    for number, part in enumerate(corpus.parts):
        if part.split == "train":
            continue
        pair = _pair(corpus, texts, number)
        sides = [_decoded(path) for path in pair.paths]
        lines = [
            [line.removesuffix("\r") for line in side.removeprefix("\ufeff").removesuffix("\n").split("\n")]
            for side in sides
        ]
        for language, side in zip(corpus.languages, lines, strict=True):
            if numbers := [number for number, line in enumerate(side, start=1) if not line.strip()]:
                blank.append(f"{_named(part)}.{language}: blank: {some_lines(numbers)}")
        held.append((part, list(zip(*lines, strict=True))))
    if blank:
        raise UserError("\n  ".join(["blank lines; remove these lines from BOTH sides:", *blank]))
    return held


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line:,} is not UTF-8; convert it (valid and test are not cleaned)") from error


def _odd_languages(corpus: Corpus, parts: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> list[str]:
    """Warn of parts that look swapped or in another language. Raise `UserError` if a filter would drop them."""
    if not is_installed("py3langid"):
        return []
    swapped, other = [], []
    for name, pairs in parts:
        step = max(1, len(pairs) // GUESSED)
        found = guess(pairs[::step][:GUESSED], corpus.languages)
        if found is None:
            continue
        if sides := look_swapped(found, corpus.languages):
            swapped.append(f"{name}: {sides}")
            continue
        for language, guessed, share in zip(corpus.languages, found.found, found.shares, strict=True):
            if guessed != language and share >= 0.8:
                other.append(f"{name}: its {language} side looks like {guessed} ({100 * share:.0f} % of a sample)")
    if (swapped or other) and corpus.steps.language != "off":
        raise UserError(
            "texts are not in the expected languages, so cleaning would drop nearly all of them:\n  "
            + "\n  ".join(swapped + other)
            + "\nRename the files so that their endings are their languages. If the texts are right, and py3langid is "
            f"wrong: {_without_languages(corpus)}"
        )
    return swapped + other


def _without_languages(corpus: Corpus) -> str:
    """Return how to clean a corpus without language identification."""
    own = "; or prepare the text without cleaning: scripts/prepare.sh without --corpus" if corpus.name == OWN else ""
    return f"{without_languages(corpus)} (prepare.sh: --corpus){own}"


def without_languages(corpus: Corpus) -> str:
    """Return how to give `lskd data prepare` this corpus without language identification."""
    copy = f"copy {corpus.path or 'the corpus file'}"
    return f'{copy} to my.toml, set language = "off" there, and give my.toml as CORPUS'


def _tokenised(corpus: Corpus, parts: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> list[str]:
    """Warn of sides that look like tokens or pieces instead of text."""
    return [
        f"{name}: its {language} side looks tokenised: of {len(pairs):,} lines checked, {'; '.join(traces)}"
        for name, pairs in parts
        for side, language in enumerate(corpus.languages)
        if (traces := looks_tokenised([pair[side] for pair in pairs], language))
    ]
