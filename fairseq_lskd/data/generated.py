"""Write a generated bitext, with the exact log-probabilities and entropies of its translations."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from ..files import write_json
from ..lines import read_lines
from ..reading import COUNT, NUMBER, read_json
from .bitext import SPLITS
from .dialects import DIALECTS
from .grammar import FORMAT_VERSION, Grammar
from .outputs import Manifest

TARGET_LANG = "yy"
MANIFEST, GRAMMAR, TRUTH = "generate.json", "grammar.json", "truth.json"
MOST_REJECTED = 10_000  # rejections in a row after which the grammar counts as exhausted
MOST_REFERENCES = 64


def draw_pairs(
    grammar: Grammar, split: str, seed: int, unwanted: Container[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """Yield pairs of a split without end. Sources in `unwanted` are left out.

    Every split has its own random stream, so the size of one split does not change the pairs of another. Dialects
    differ in train only: their valid and test have the same sentences, with the same translations.
    """
    own = f" {grammar.dialect.language}" if split == "train" and grammar.dialect != DIALECTS[0] else ""
    rng = random.Random(f"{split} {seed}{own}")
    rejected = 0
    while rejected < MOST_REJECTED:
        source, target = grammar.sample(rng)
        if source in unwanted:
            rejected += 1
            continue
        rejected = 0
        yield source, target
    raise UserError(f"--{split}: the grammar has too few source sentences; ask for fewer, or for more words (--nouns)")


def draw_references(grammar: Grammar, sources: Iterable[str], number: int, seed: int) -> Iterator[str]:
    """Yield reference `number` (from 1) of each source of the test set, drawn from `p(target | source)`.

    Every number has its own random stream, so more references or more sources do not change the existing ones.
    """
    rng = random.Random(f"reference {number} {seed}")
    return (grammar.sample_target(source, rng) for source in sources)


def write_bitext(
    grammar: Grammar,
    out: Path,
    train: int = 20_000,
    valid: int = 500,
    test: int = 500,
    seed: int = 1,
    references: int = 1,
) -> bool:
    """Write `{train,valid,test}.{xx,yy}`, `grammar.json`, `truth.json` and `truth.SPLIT.tsv` to `out`.

    In place of xx is the language of the grammar's dialect. No source occurs in two splits. `test.yy` holds the first
    reference of each test source. The remaining `references - 1` are independent draws in `test.1.yy`, `test.2.yy` and
    so on. Return False if `out` is up to date. Raise `UserError` if it holds something else.
    """
    sizes = {"test": test, "valid": valid, "train": train}
    for split, size in sizes.items():
        if size < 1:
            raise UserError(f"--{split} {size}: expected at least 1")
    if not 1 <= references <= MOST_REFERENCES:
        raise UserError(f"--references {references}: expected 1 to {MOST_REFERENCES}")
    parameters = grammar.parameters.recorded() if grammar.parameters else {}
    parameters = {name.replace("_", "-"): value for name, value in parameters.items()}
    # This is the seed of the draws. The lexicon's digest covers the grammar's own seed.
    options = sizes | parameters | {"seed": seed, "format": FORMAT_VERSION}
    # Only if there are several, so that folders from before this option stay up to date.
    options |= {"references": references} if references > 1 else {}
    manifest = Manifest(MANIFEST, options, inputs={"lexicon": grammar.lexicon_digest()})
    if manifest.is_up_to_date(out):
        return False
    with manifest.written(out) as (folder, _):
        if grammar.parameters:
            write_json(folder / GRAMMAR, grammar.to_json())
        truth: dict[str, Any] = {"unit": "nats"}
        seen: set[str] = set()
        with tqdm(total=sum(sizes.values()), unit=" pairs", delay=2, disable=None) as progress:
            for split, size in sizes.items():
                pairs = itertools.islice(draw_pairs(grammar, split, seed, frozenset(seen)), size)
                sources, truth[split] = _write_split(grammar, folder, split, pairs, progress)
                if split != "train":
                    seen |= sources
        _write_references(grammar, folder, references, seed)
        write_json(folder / TRUTH, truth)
    return True


def _write_references(grammar: Grammar, folder: Path, references: int, seed: int) -> None:
    """Write all references but the first, which is the target side of the test set."""
    for number in range(1, references):
        targets = draw_references(grammar, read_lines(folder / f"test.{grammar.dialect.language}"), number, seed)
        with (folder / f"test.{number}.{TARGET_LANG}").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{target}\n" for target in targets)


def read_truth(out: Path) -> dict[str, Any]:
    """Read and check `truth.json`."""
    facts = {
        "sentences": COUNT,
        "words": {TARGET_LANG: COUNT, **{f"{dialect.language}?": COUNT for dialect in DIALECTS}},
        "log_prob_per_sentence": NUMBER,
        "entropy_per_sentence": NUMBER,
    }
    return read_json(out / TRUTH, dict.fromkeys(SPLITS, facts), "the truth.json that `lskd generate` writes")


def _write_split(
    grammar: Grammar, folder: Path, split: str, pairs: Iterable[tuple[str, str]], progress: tqdm
) -> tuple[set[str], dict[str, Any]]:
    sources: set[str] = set()
    language = grammar.dialect.language
    log_probs, entropies, words = [], [], {language: 0, TARGET_LANG: 0}
    with (
        (folder / f"{split}.{language}").open("w", encoding="utf-8", newline="\n") as source_file,
        (folder / f"{split}.{TARGET_LANG}").open("w", encoding="utf-8", newline="\n") as target_file,
        (folder / f"truth.{split}.tsv").open("w", encoding="utf-8", newline="\n") as truth_file,
    ):
        truth_file.write("log_prob\tentropy\n")
        for source, target in pairs:
            source_file.write(source + "\n")
            target_file.write(target + "\n")
            log_probs.append(grammar.log_prob(target, source))
            entropies.append(grammar.entropy(source))
            truth_file.write(f"{log_probs[-1]:.6f}\t{entropies[-1]:.6f}\n")
            words[language] += source.count(" ") + 1
            words[TARGET_LANG] += target.count(" ") + 1
            sources.add(source)
            progress.update()
    total, count = math.fsum(log_probs), len(log_probs)
    return sources, {
        "sentences": count,
        "words": words,
        "log_prob": total,
        "log_prob_per_sentence": total / count,
        "entropy_per_sentence": math.fsum(entropies) / count,
    }
