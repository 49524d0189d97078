"""The packed folder. This module is imported before anything is installed, so it uses only the standard library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: The default packed folder.
PACK = HERE / "pack"
MANIFEST = "manifest.json"
#: Maximum size of the packed folder in bytes.
LIMIT = 55 * 2**20


def there() -> dict[str, str]:
    """Return names and versions in there.txt, with "" for any version. `python` is one of the names."""
    lines = [line.split("#")[0].strip() for line in (HERE / "there.txt").read_text(encoding="utf-8").splitlines()]
    return {name: version for name, _, version in (line.partition("==") for line in lines) if name}


def wheels() -> list[str]:
    """Return pip's requirements: the names in wheels.txt with the versions in constraints.txt."""
    pins = dict(line.split("==") for line in _lines(ROOT / "constraints.txt"))
    return [f"{name}=={pins[name]}" for name in _lines(HERE / "wheels.txt")]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def manifest(pack: Path) -> dict[str, Any] | None:
    """Read the manifest of a packed folder. Return None if it has none, because packing did not finish."""
    path = pack / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
