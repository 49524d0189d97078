"""The notice "Please install tensorboardX" of fairseq's task for speech synthesis, which every command imports."""

from __future__ import annotations

import importlib.util
import logging

MODULE = "fairseq.tasks.text_to_speech"
NAME = "tensorboardx-notice"
NEEDED_BY = 'every command prints "Please install tensorboardX", which only speech synthesis needs'
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "before"


def needed() -> bool:
    """Whether tensorboardX is missing, which causes the notice."""
    return importlib.util.find_spec("tensorboardX") is None


def is_not_notice(record: logging.LogRecord) -> bool:
    """Whether a log record is not the notice."""
    return "Please install tensorboardX" not in record.getMessage()


def apply() -> None:
    logging.getLogger(MODULE).addFilter(is_not_notice)
