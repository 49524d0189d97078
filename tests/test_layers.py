"""docs/development.md lists the layers that import-linter checks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_has_the_lines_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    checked = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    page = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"nothing beside it on its line:\n\n((?:    .*\n)+)", page)
    assert block.split("\n")[:-1] == [f"    {line}" for line in checked]
