"""``--bf16`` on GPUs: fairseq 0.12's command line turns on ``--tpu`` with it.

``fairseq.options`` sets ``args.tpu`` if ``--bf16`` is given, so ``fairseq-train --bf16`` and
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
    """Whether torch_xla is missing and ``--bf16`` turns on ``--tpu`` nevertheless."""
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
    """Turn ``args.tpu`` off again unless ``--tpu`` was given."""
    from fairseq import options

    original = options.parse_args_and_arch
    if getattr(original, "knows_bf16", False):
        return

    @functools.wraps(original)
    def parse_args_and_arch(parser: argparse.ArgumentParser, input_args: Any = None, *args: Any, **kwargs: Any) -> Any:
        # The parsed value cannot tell whether --tpu itself was given. Abbreviations are left to fairseq.
        asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        asked.add_argument("--tpu", action="store_true")
        found = original(parser, input_args, *args, **kwargs)
        parsed = found[0] if isinstance(found, tuple) else found
        # With suppress_defaults, options that were not given have no attribute.
        if (
            getattr(parsed, "bf16", False)
            and getattr(parsed, "tpu", False)
            and not asked.parse_known_args(input_args)[0].tpu
        ):
            parsed.tpu = False
        return found

    parse_args_and_arch.knows_bf16 = True  # type: ignore[attr-defined]  # a mark on a function
    options.parse_args_and_arch = parse_args_and_arch
