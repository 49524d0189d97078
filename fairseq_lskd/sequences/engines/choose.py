"""Choose the engine that translates with a teacher."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...compat.versions import OPTIONAL
from ...errors import UserError
from ...extras import is_installed, require
from ..decoding import DecodingOptions, Engine

if TYPE_CHECKING:
    from ...teachers.alone import Teacher


def choose_engine(
    teacher: Teacher, options: DecodingOptions, wanted: str, device: str, cores: int, cache: Path
) -> Engine:
    """Return a CTranslate2 engine if it supports teacher and options, else a fairseq engine, with the reason on stderr.

    Args:
        wanted: "auto", "fairseq" or "ctranslate2".
        cache: folder for converted models.

    Raises:
        UserError: if CTranslate2 is wanted, but does not support teacher and options.
    """
    if wanted != "fairseq":
        if wanted == "ctranslate2":
            require("--engine ctranslate2", "ctranslate2")
        reason = _obstacle(teacher, options)
        if reason is None:
            from .conversion import Unsupported, convert
            from .ctranslate2_engine import CTranslate2Engine

            try:
                folder = convert(teacher, cache)
                return CTranslate2Engine(folder, options, device, cores, teacher.max_positions, teacher.affixes)
            except Unsupported as error:
                reason = str(error)
        if wanted == "ctranslate2":
            raise UserError(f"--engine ctranslate2: {reason}. Leave it out to translate with fairseq.")
        print(f"translating with fairseq: {reason}", file=sys.stderr)
    from .fairseq_engine import FairseqEngine

    return FairseqEngine(teacher, options, device, cores)


def _obstacle(teacher: Teacher, options: DecodingOptions) -> str | None:
    """Return why CTranslate2 cannot be used, apart from the model's architecture, or None."""
    if not is_installed("ctranslate2"):
        how = OPTIONAL["ctranslate2"].how_to_get
        return f"CTranslate2, which is several times faster, is not installed. Install it with: {how}"
    if len(teacher.models) > 1:
        return "CTranslate2 does not support ensembles"
    return unsupported(options)


def unsupported(options: DecodingOptions) -> str | None:
    """Return which options of the search CTranslate2 does not support, or None."""
    if 0 < options.unkpen < math.inf:
        return f"CTranslate2 supports only 0 and inf for --unkpen, found {options.unkpen:g}"
    if options.diverse_beam_groups > 0:
        return "CTranslate2 does not support diverse beam search (--diverse-beam-groups)"
    if options.sampling_epsilon or options.sampling_eta:
        return f"CTranslate2 does not support {options.truncations[0]}"
    return None
