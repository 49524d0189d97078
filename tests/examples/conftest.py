"""The examples' modules are imported from their own folders, as they import each other."""

from __future__ import annotations

import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES / name) for name in ("vision", "vocabulary_sizes")]
