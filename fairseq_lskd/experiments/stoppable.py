"""Run Snakemake, quietly after Ctrl-C: `python -m fairseq_lskd.experiments.stoppable OPTION ...`.

After Ctrl-C, Snakemake reports each job that it stopped as an error, with its rule, its command and lines of Python.
The script that called it says in one line what happened.
"""

from __future__ import annotations

import os
import runpy
import signal
from typing import Any, NoReturn


def _stop(*_: Any) -> NoReturn:
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # the jobs keep theirs
        os.dup2(nothing, stream)
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _stop)
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
