"""How OpenMP's threads wait, which decides how training bears other work on the same cores.

At the end of each operator, libgomp's threads wait for the slowest by spinning. Where another program has one of the
cores, they spend the time that it needs on waiting, and a loss of many small operators, as the fused ones are,
loses most. Passive threads sleep instead, which costs nothing that was measured on idle cores.

libgomp reads these variables when it is loaded, which the import of torch does: they must be set before.
"""

from __future__ import annotations

import os
import sys

#: What makes libgomp's threads sleep while they wait (Intel's runtime knows the first one, too).
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
#: A user who set one of these has decided.
VARIABLES = (*PASSIVE, "KMP_BLOCKTIME")

_ours = False


def chosen() -> dict[str, str]:
    """Those of the variables that are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def wait_passively() -> bool:
    """Have this process and those that it starts wait passively; whether that was done.

    Nothing is changed where the user set one of the variables, or where torch is loaded and would not notice.
    """
    global _ours
    if not chosen() and "torch" not in sys.modules:
        os.environ.update(PASSIVE)
        _ours = True
    return _ours


def describe(hook: bool) -> str:
    """The policy of this process, for people.

    Args:
        hook: whether the import hook is active, which sets it for fairseq's commands.
    """
    found = " ".join(f"{name}={value}" for name, value in chosen().items())
    if not found:
        return "OpenMP's default: threads spin, which is slow where other programs use the same cores"
    if not _ours:
        return f"{found} (from the environment)"
    fairseq = "and fairseq's commands" if hook else "; fairseq's commands need it in the environment, without the hook"
    return f"{found} (set by fairseq_lskd for lskd {fairseq})"
