"""What pack.sh packs and for which machine. Read there before anything is installed: the standard library alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: Where it is packed.
PACK = HERE / "pack"
MANIFEST = "manifest.json"
#: What a folder may have that is to travel.
LIMIT = 55 * 2**20


def there() -> dict[str, str]:
    """Names of there.txt with their versions, '' for any; `python` is one."""
    lines = [line.split("#")[0].strip() for line in (HERE / "there.txt").read_text(encoding="utf-8").splitlines()]
    return {name: version for name, _, version in (line.partition("==") for line in lines) if name}


def wheels() -> list[str]:
    """Names of wheels.txt with the versions of constraints.txt, as pip takes them."""
    pins = dict(line.split("==") for line in _lines(ROOT / "constraints.txt"))
    return [f"{name}=={pins[name]}" for name in _lines(HERE / "wheels.txt")]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def manifest(pack: Path) -> dict[str, Any] | None:
    """What was packed into a folder; None where nothing was, or only half of it."""
    path = pack / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
