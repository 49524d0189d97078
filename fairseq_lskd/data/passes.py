"""The passes over a bitext to encode it: count words, tokenise, and write pieces, each with several processes."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from .bitext import Bitext, Side, some_lines
from .chunks import Chunk, map_chunks, read_chunks
from .moses import Tokeniser
from .segment import Pieces, Words
from .vocabulary import VocabularyOptions

Counts = dict[str, Counter[str]]  #: file (train.de) -> piece -> count


def files_of(bitext: Bitext) -> dict[str, Side]:
    """Return each side of each split by its file name, such as `train.de`."""
    return {f"{split}.{lang}": side for split, sides in bitext.items() for lang, side in sides.items()}


def count_pairs(bitext: Bitext) -> int:
    """Return the number of training pairs."""
    return next(iter(bitext["train"].values())).lines


def _chosen(bitext: Bitext, options: VocabularyOptions) -> list[int] | None:
    """Return the sorted indices of the lines of train on which the vocabulary is trained. None means all lines."""
    pairs = count_pairs(bitext)
    if options.sample is None or options.sample >= pairs:
        return None
    return sorted(random.Random(options.seed).sample(range(pairs), options.sample))


def _jobs(path: Path, chosen: list[int] | None) -> Iterator[tuple[Chunk, list[int] | None]]:
    """Yield the chunks of a file, each with the indices of its chosen lines."""
    for chunk in read_chunks(path):
        if chosen is None:
            yield chunk, None
        else:
            start = chunk.first - 1
            here = chosen[bisect_left(chosen, start) : bisect_left(chosen, start + len(chunk))]
            yield chunk, [number - start for number in here]


def count_words(bitext: Bitext, languages: Sequence[str], options: VocabularyOptions, workers: int) -> Counter[str]:
    """Count the words of train, or of a sample of its pairs, in these languages."""
    chosen = _chosen(bitext, options)
    words: Counter[str] = Counter()
    sides = [bitext["train"][language] for language in languages]
    with _progress("words", sides) as bar:
        jobs = (job for side in sides for job in _jobs(side.path, chosen))
        for tokens in map_chunks(Words(), jobs, workers):
            words.update(tokens.counts)
            bar.update(tokens.lines)
    return words


def tokenise(
    bitext: Bitext, out: Mapping[str, Path], options: VocabularyOptions, split_hyphens: bool, workers: int
) -> Counter[str]:
    """Tokenise every file. Return the counts of the words from which to learn BPE codes."""
    chosen = _chosen(bitext, options)
    words: Counter[str] = Counter()
    files = files_of(bitext)
    with _progress("tokens", files.values()) as bar:
        for name, side in files.items():
            split, _, language = name.partition(".")
            count = Words(Tokeniser(language, split_hyphens))
            with out[name].open("wb") as stream:
                for tokens in map_chunks(count, _jobs(side.path, chosen if split == "train" else []), workers):
                    stream.write(tokens.text)
                    words.update(tokens.counts)
                    bar.update(tokens.lines)
    return words


def encode_splits(
    segmenters: Mapping[str, Callable[[Chunk], Pieces]],
    bitext: Bitext,
    folder: Path,
    workers: int,
    texts: Mapping[str, Path] | None = None,
) -> Counts:
    """Write every split in pieces. Return the counts of each file's pieces. Raise `UserError` for lines without pieces.

    `texts` are the files to encode instead of the bitext's own.
    """
    files = files_of(bitext)
    counts: Counts = {name: Counter() for name in files}
    problems: list[str] = []
    with _progress("pieces", files.values()) as bar:
        for name, side in files.items():
            empty: list[int] = []
            segmenter = segmenters[name.partition(".")[2]]
            with (folder / name).open("wb") as stream:
                for pieces in map_chunks(segmenter, read_chunks(texts[name] if texts else side.path), workers):
                    stream.write(pieces.text)
                    counts[name].update(pieces.counts)
                    empty += pieces.empty
                    bar.update(pieces.lines)
            if empty:
                problems.append(f"{side.path}: {some_lines(empty)}")
    if problems:
        raise UserError(
            "lines with only invisible characters have no pieces; remove them from BOTH sides:\n  "
            + "\n  ".join(problems)
        )
    return counts


def _progress(what: str, sides: Any) -> Any:
    total = sum(side.lines for side in sides)
    return tqdm(total=total, desc=what, unit=" lines", unit_scale=True, delay=2, disable=None)
