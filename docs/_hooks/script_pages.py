"""A page with the help text of each script that a person runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
URI = "reference/scripts.md"
NAMES = (
    "quickstart",
    "setup",
    "prepare",
    "train_teacher",
    "distill_word",
    "translate",
    "distill_seq",
    "prepare_pairs",
    "distill_multilingual",
    "score",
    "speed",
)
NAMES += ("experiment", "multilingual", "test", "test_pythons", "test_builds", "redraw", "release", "smoke")


def help_of(path: Path) -> str:
    """The comment at the top of a script, which its --help prints."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(re.sub("^# ?", "", line) for line in lines[:end])


def pages() -> dict[str, str]:
    """The page, by its place in the site."""
    parts = ["# Scripts", "Each script prints the commands that it runs. `--help` prints what stands here."]
    for name in NAMES:
        parts += [f"## scripts/{name}.sh", f"```text\n{help_of(ROOT / 'scripts' / f'{name}.sh')}\n```"]
    return {URI: "\n\n".join(parts) + "\n"}
