"""The wait policy of OpenMP's threads, which matters if other programs use the same cores.

At the end of each operator, libgomp's threads wait for the slowest thread by spinning. If another program uses one of
the cores, they take CPU time from it while they wait. Losses with many small operators, such as the fused ones, become
slowest. Passive threads sleep instead. On idle cores we measured no cost.

libgomp reads these variables when torch is imported, so they must be set before.
"""

from __future__ import annotations

import os
import sys

#: Values with which libgomp's threads sleep while they wait. Intel's runtime reads the first variable too.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
#: If the user has set one of these variables, none is changed.
VARIABLES = (*PASSIVE, "KMP_BLOCKTIME")

_ours = False


def chosen() -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def wait_passively() -> bool:
    """Set the passive policy for this process and its children. Return whether this function has set it.

    Nothing is changed if the user has set one of the variables, or if torch is already imported.
    """
    global _ours
    if not chosen() and "torch" not in sys.modules:
        os.environ.update(PASSIVE)
        _ours = True
    return _ours


def describe(hook: bool) -> str:
    """Describe the policy of this process.

    Args:
        hook: whether the import hook is active, which sets the policy for fairseq's commands.
    """
    found = " ".join(f"{name}={value}" for name, value in chosen().items())
    if not found:
        return "OpenMP's default: threads spin, which is slow if other programs use the same cores"
    if not _ours:
        return f"{found} (from the environment)"
    fairseq = " and fairseq's commands" if hook else "; without the import hook, set it in the environment for fairseq"
    return f"{found} (set by fairseq_lskd for lskd{fairseq})"
