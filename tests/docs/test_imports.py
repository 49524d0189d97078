"""What pages import, and the modules that the reference shows, are there."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import textwrap

import pytest

from .pages import ROOT, pages


def imported() -> set[tuple[str, str]]:
    """Module and name of every `from fairseq_lskd... import ...` in a page."""
    found = set()
    for page in pages():
        for line in re.findall(r"^\s*from fairseq_lskd[\w.]* import .*$", page.read_text(encoding="utf-8"), re.M):
            (statement,) = ast.parse(textwrap.dedent(line).strip()).body
            assert isinstance(statement, ast.ImportFrom) and statement.module
            found |= {(statement.module, alias.name) for alias in statement.names}
    return found


@pytest.mark.parametrize(("module", "name"), sorted(imported()))
def test_pages_import_what_there_is(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}")


def test_the_reference_shows_modules_that_there_are() -> None:
    shown = [
        (page.name, module)
        for page in (ROOT / "docs/reference/api").glob("*.md")
        for module in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.M)
    ]
    assert shown and not [(page, module) for page, module in shown if importlib.util.find_spec(module) is None]
