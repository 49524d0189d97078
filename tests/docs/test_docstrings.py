"""The docstrings' lists of arguments, as the API pages read them."""

from __future__ import annotations

import ast
import re

from .pages import ROOT

#: `a, b: text`, and `a: text; b: text`. The API pages show neither as two parameters.
_JOINED = re.compile(r"^    \w+(?:, \w+)+: |; [a-z_]+: ", re.M)


def test_each_argument_has_a_line_of_its_own() -> None:
    joined = []
    for path in sorted((ROOT / "fairseq_lskd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                arguments = (ast.get_docstring(node) or "").partition("\nArgs:\n")[2]
                section = re.split(r"^\S", arguments, maxsplit=1, flags=re.M)[0]
                joined += [f"{path.name}: {node.name}: {found[0]}" for found in _JOINED.finditer(section)]
    assert not joined
