"""Test that the analysis works without fairseq and sacreBLEU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fairseq_lskd.analysis

MODULES = sorted(path.stem for path in Path(fairseq_lskd.analysis.__path__[0]).glob("*.py") if path.stem != "__init__")
CODE = """
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("fairseq", "sacrebleu", "sentencepiece", "hydra", "omegaconf", "sklearn"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Missing())
for module in sys.argv[1:]:
    importlib.import_module("fairseq_lskd.analysis." + module)
from fairseq_lskd.analysis import smoothed_loss
print(smoothed_loss.section().title)
"""


def test_every_module_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *MODULES], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "The smoothed loss\n"), done.stderr
