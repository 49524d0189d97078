"""``--bf16`` is not only for TPUs: fairseq 0.12's command line takes it for a request for one.

``fairseq.options`` sets ``args.tpu`` wherever ``--bf16`` is given, so that ``fairseq-train --bf16`` and
``--memory-efficient-bf16`` fail on GPUs ("'NoneType' object has no attribute 'xla_device'").
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
from typing import Any

NAME = "bf16-on-gpu"
NEEDED_BY = "fairseq-train --bf16 fails on a GPU (\"'NoneType' object has no attribute 'xla_device'\")"
MODULES: tuple[str, ...] = ("fairseq.options",)
WHEN = "after"


def needed() -> bool:
    """Whether there is no library for TPUs and ``--bf16`` asks for one all the same."""
    if importlib.util.find_spec("torch_xla") is not None:
        return False
    from fairseq import options

    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("--bf16", "--fp16"):
        parser.add_argument(name, action="store_true")
    for name in ("--batch-size", "--max-tokens"):
        parser.add_argument(name)
    return bool(options.parse_args_and_arch(parser, ["--bf16"]).tpu)


def apply() -> None:
    """Take back the TPU that nobody asked for by ``--tpu``."""
    from fairseq import options

    original = options.parse_args_and_arch
    if getattr(original, "knows_bf16", False):
        return

    @functools.wraps(original)
    def parse_args_and_arch(parser: argparse.ArgumentParser, input_args: Any = None, *args: Any, **kwargs: Any) -> Any:
        # The option itself, not what was made of it; an abbreviation is left as fairseq has it.
        asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        asked.add_argument("--tpu", action="store_true")
        found = original(parser, input_args, *args, **kwargs)
        parsed = found[0] if isinstance(found, tuple) else found
        # With suppress_defaults only what was given is there.
        if (
            getattr(parsed, "bf16", False)
            and getattr(parsed, "tpu", False)
            and not asked.parse_known_args(input_args)[0].tpu
        ):
            parsed.tpu = False
        return found

    parse_args_and_arch.knows_bf16 = True  # type: ignore[attr-defined]  # a mark on a function
    options.parse_args_and_arch = parse_args_and_arch
