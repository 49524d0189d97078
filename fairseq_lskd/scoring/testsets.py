"""Test sets that sacreBLEU downloads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..lines import read_lines


class TestSet(NamedTuple):
    source: list[str]
    references: list[list[str]]


def load(name: str, pair: str | None) -> TestSet:
    """Return a test set by name (wmt14) and language pair (en-de). It is downloaded to ~/.sacrebleu once.

    Raises:
        UserError: if sacreBLEU has no such test set, or cannot download it.
    """
    from sacrebleu.dataset import DATASETS
    from sacrebleu.utils import get_available_testsets_for_langpair

    if name not in DATASETS:
        near = ", ".join(sorted(known for known in DATASETS if known.startswith(name[:3])))
        raise UserError(f"-t {name}: sacreBLEU has no such test set; it has {near or ', '.join(sorted(DATASETS))}")
    pairs = sorted(DATASETS[name].langpairs)
    if pair not in pairs:
        others = ", ".join(sorted(get_available_testsets_for_langpair(pair))) if pair else ""
        raise UserError(
            f"-l {pair or 'is missing'}: expected one of the language pairs of {name}: {', '.join(pairs)}"
            + (f" ({pair} is in {others})" if others else "")
        )
    try:
        source = DATASETS[name].get_source_file(pair)
        references = DATASETS[name].get_reference_files(pair)
    except (Exception, SystemExit) as error:  # sacreBLEU exits if a download fails
        raise UserError(
            f"-t {name} -l {pair}: sacreBLEU cannot download the test set ({error}); give the files with --references"
        ) from None
    return TestSet(list(read_lines(Path(source))), [list(read_lines(Path(path))) for path in references])
