"""The marked blocks of README and tutorials run as they stand, on little text and for a few updates."""

from __future__ import annotations

import os
import random
import subprocess
import sysconfig
from pathlib import Path

import pytest

from .pages import ROOT, is_marked, pages, runnable

BIN = Path(sysconfig.get_path("scripts"))
TUTORIAL = "docs/tutorials/language-pair.md"
#: Pages whose blocks run one after the other in one folder.
CHAINS = [
    ["docs/tutorials/first-distillation.md"],
    [TUTORIAL, "docs/monolingual.md"],
    ["docs/tutorials/multilingual-teacher.md"],
]
#: Replaces fairseq-train: the same command for a tiny model, trained until it writes whole sentences.
SHORT = """#!/usr/bin/env bash
exec "{train}" "$@" --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32 \\
    --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 --encoder-attention-heads 2 --decoder-attention-heads 2 \\
    --max-update 200 --save-interval-updates 100 --validate-interval-updates 100 --warmup-updates 5 --lr 1e-2 \\
    --lr-scheduler cosine --dropout 0
"""
#: Replaces lskd: the same command, which generates less text.
LITTLE = """#!/usr/bin/env bash
case $1 in generate) set -- "$@" --train 1000 --valid 30 --test 40 --references 2 ;; esac
exec "{lskd}" "$@"
"""


def write_text(folder: Path, rare: float = 0.2) -> None:
    """A bitext that passes the filters, German text alone, and two pairs.

    Args:
        rare: share of the training text's names that occur once. Many of them fill a large vocabulary. The other names
            are frequent: a tiny model learns to write these, where it would repeat letters of rare ones.
    """
    source = random.Random(1)
    syllables = [a + b for a in "bdfgklmnprstvw" for b in ("a", "e", "i", "o", "u", "ei", "au", "en", "er")]

    def new() -> str:
        return "".join(source.choices(syllables, k=source.randint(2, 5)))

    frequent = [new() for _ in range(12)]
    weights = [1 / rank for rank in range(1, len(frequent) + 1)]

    def pair(rare: float) -> tuple[str, str]:
        names = [new() if source.random() < rare else source.choices(frequent, weights)[0] for _ in range(4)]
        return (
            "Die {} und der {} sind mit dem {} in das Haus von {} gegangen.".format(*names),
            "The {} and the {} have gone with the {} into the house of {}.".format(*names),
        )

    # Sentences of names that occur once are not in the training text too.
    for split, count, share in (("train", 3500, rare), ("valid", 20, 1), ("test", 20, 1), ("mono", 60, rare)):
        rows = [pair(share) for _ in range(count)]
        for place, language in enumerate(("de", "en")):
            path = folder / "text" / f"{split}.{language}"
            if split == "mono":
                path = folder / "mono" / f"train.{language}"
            if (split, language) != ("mono", "en"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(row[place] + "\n" for row in rows))
            for source_language, article in (("de", "Die"), ("fr", "La")) if split != "mono" else ():
                both = folder / "pairs" / f"{source_language}-en"
                both.mkdir(parents=True, exist_ok=True)
                path = both / f"{split}.{source_language if language == 'de' else language}"
                path.write_text("".join(row[place].replace("Die", article) + "\n" for row in rows[:2000]))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What a checkout has, and text of one's own."""
    for name in ("data-prep", "examples", "experiments", "fairseq_lskd", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    write_text(tmp_path / "my")
    (tmp_path / "bin").mkdir()
    for name, text in (
        ("fairseq-train", SHORT.format(train=BIN / "fairseq-train")),
        ("lskd", LITTLE.format(lskd=BIN / "lskd")),
    ):
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def run(block: str, home: Path) -> None:
    environment = {**os.environ, "PATH": f"{home / 'bin'}:{BIN}:{os.environ['PATH']}"}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, f"{block}\n{(done.stdout + done.stderr)[-3000:]}"


def test_all_marked_pages_are_run() -> None:
    marked = {str(page.relative_to(ROOT)) for page in pages() if is_marked(page)}
    assert marked == {"README.md"} | {page for chain in CHAINS for page in chain}


needs_fairseq = pytest.mark.skipif(not (BIN / "fairseq-train").exists(), reason="fairseq's commands are not installed")


@pytest.mark.slow
@pytest.mark.e2e
@needs_fairseq
@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: Path(chain[-1]).stem)
def test_blocks_run_as_they_stand(chain: list[str], home: Path) -> None:
    for page in chain:
        for block in runnable(ROOT / page):
            run(block, home)


@pytest.mark.slow
@pytest.mark.e2e
@needs_fairseq
def test_the_readme_has_the_commands_of_the_tutorial_and_the_default_vocabulary(home: Path) -> None:
    """All but the first command are run with the tutorial, to the letter."""
    (block,) = runnable(ROOT / "README.md")
    first, *others = block.splitlines()
    tutorial = "".join(runnable(ROOT / TUTORIAL)).splitlines()
    assert first in [line.replace(" --vocab-size 1000", "") for line in tutorial]
    assert [line for line in tutorial if line in others] == others
    write_text(home / "my", rare=1)
    run(first, home)
    assert len((home / "data/mine/pieces/dict.en.txt").read_text(encoding="utf-8").splitlines()) > 7900
