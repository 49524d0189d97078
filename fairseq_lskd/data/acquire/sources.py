"""Resolve the ids in corpus files: mtdata's ids of data sets, and sacreBLEU's ids of test sets."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...extras import require
from ..corpora import Corpus, Download, Part, Side


def resolve(corpus: Corpus, cache: Path) -> Corpus:
    """Return the corpus with all its downloads, resolving the ids of data sets and test sets."""
    return replace(corpus, parts=tuple(_resolved(part, corpus.languages, cache) for part in corpus.parts))


def _resolved(part: Part, languages: tuple[str, str], cache: Path) -> Part:
    if part.sides:
        return part
    if part.sacrebleu:
        return _of_sacrebleu(part, languages)
    assert part.mtdata is not None
    return _of_mtdata(part, languages, cache)


def _of_sacrebleu(part: Part, languages: tuple[str, str]) -> Part:
    """Return a test set as sacreBLEU defines it: the archive, its MD5, and the members of the two languages."""
    from sacrebleu.dataset import DATASETS

    assert part.sacrebleu is not None
    found = DATASETS.get(part.sacrebleu)
    if found is None:
        raise UserError(f"sacrebleu = {part.sacrebleu}: unknown test set; `sacrebleu --list` lists all")
    source, target = languages
    pairs = found.langpairs
    if f"{source}-{target}" in pairs:
        members = dict(zip(languages, pairs[f"{source}-{target}"], strict=False))
    elif f"{target}-{source}" in pairs:
        members = dict(zip(languages[::-1], pairs[f"{target}-{source}"], strict=False))
    else:
        raise UserError(f"sacrebleu = {part.sacrebleu}: has no {source}-{target}, only {' '.join(sorted(pairs))}")
    if not found.data or len(found.data) != 1 or any(":" in member for member in members.values()):
        raise UserError(f"sacrebleu = {part.sacrebleu}: expected one archive of plain files; give its url and files")
    download = Download(found.data[0], md5=found.md5[0] if found.md5 else None)
    return replace(part, sides={language: Side(download, member) for language, member in members.items()})


def _of_mtdata(part: Part, languages: tuple[str, str], cache: Path) -> Part:
    entry = _mtdata_entry(str(part.mtdata), cache)
    names = [tag.lang for tag in entry.did.langs]
    order = [_side_of(language, names) for language in languages]
    if len(names) != 2 or None in order or order[0] == order[1]:
        raise UserError(f"mtdata = {part.mtdata}: expected {' and '.join(languages)}, found {' and '.join(names)}")
    urls = entry.url if isinstance(entry.url, list | tuple) else [entry.url, entry.url]
    kind = entry.in_ext or entry.ext
    sides = {}
    for language, place in zip(languages, order, strict=True):
        assert place is not None
        member = entry.in_paths[place] if entry.in_paths and len(entry.in_paths) == 2 else None
        column = None
        if "tsv" in kind:
            member, column = (entry.in_paths[0] if entry.in_paths else None), (entry.cols or (0, 1))[place]
        sides[language] = Side(Download(urls[place]), member, column)
    text = {"txt": "plain", "raw": "plain", "sgm": "sgm"}
    form = "tsv" if "tsv" in kind else text.get(kind.removesuffix(".gz"))
    if form is None or len(entry.in_paths or []) > 2:
        raise UserError(f"mtdata = {part.mtdata}: unsupported format {kind}; prepare it as your own text")
    return replace(part, sides=sides, format=form)


def _mtdata_entry(name: str, cache: Path) -> Any:
    # The folder of mtdata's index. It must be set before the first import.
    os.environ.setdefault("MTDATA", str(cache / "mtdata"))
    if "mtdata.index" not in sys.modules:
        print("reading mtdata's index (about a minute the first time, then seconds)", file=sys.stderr)
    require(f"mtdata = {name}", "mtdata")
    import logging

    level = logging.root.level
    from mtdata.entry import DatasetId
    from mtdata.index import INDEX

    logging.root.setLevel(level)
    try:
        return INDEX[DatasetId.parse(name)]
    except KeyError:
        raise UserError(f"mtdata = {name}: unknown data set; `mtdata list` lists all") from None
    except Exception as error:
        raise UserError(f"mtdata = {name}: {error}") from error


def _side_of(language: str, names: list[str]) -> int | None:
    """Return the index of the language among mtdata's three-letter codes; None if it is not there."""
    from mtdata.iso.bcp47 import bcp47

    three = bcp47(language).lang
    return names.index(three) if three in names else None
