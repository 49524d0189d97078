"""fairseq's task of speech synthesis, which every command imports, asks for tensorboardX before all else."""

from __future__ import annotations

import importlib.util
import logging

MODULE = "fairseq.tasks.text_to_speech"
NAME = "tensorboardx-notice"
NEEDED_BY = 'every command begins with "Please install tensorboardX", which only speech synthesis uses'
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "before"


def needed() -> bool:
    """Whether tensorboardX is missing, which is what the notice is about."""
    return importlib.util.find_spec("tensorboardX") is None


def unasked(record: logging.LogRecord) -> bool:
    """False for the notice."""
    return "Please install tensorboardX" not in record.getMessage()


def apply() -> None:
    """Leave the notice out of the log."""
    logging.getLogger(MODULE).addFilter(unasked)
