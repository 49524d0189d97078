"""Prepare text in the source language alone, for a teacher to translate. It is cleaned by the steps for one side."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from ..files import write_json
from ..lines import open_text
from .bitext import check_unchanged, examine, find_side
from .chunks import map_chunks
from .clean.report import PartReport, examples, table
from .clean.run import SAMPLE, Texts, blocks, drop_duplicates, make_plan, sample
from .clean.seen import Seen
from .clean.steps import Steps
from .clean.worker import Cleaner
from .corpora import Corpus, HoldOut
from .inspection import without_languages
from .language_id import unknown_languages
from .outputs import Manifest
from .prepare import CLEANER, MANIFEST, REPORT, REPORT_JSON
from .tokenised import looks_tokenised

TRAIN = "train"


def prepare_source(raw: Path, out: Path, language: str, corpus: Corpus, workers: int = 1) -> bool:
    """Clean `RAW/train.LANG`, plain or gzipped, into `OUT/raw/train.LANG`. Return False if that is up to date.

    Args:
        corpus: its cleaning steps apply. Those that compare two sides are left out; duplicates are equal lines.

    Raises:
        UserError: if the text is missing, broken or empty, or if cleaning drops all of it.
    """
    steps = dataclasses.replace(corpus.steps, ratio=None, word_ratio=None, copies=None, held_out="off")
    if steps.duplicates != "off":
        steps = dataclasses.replace(steps, duplicates="source")
    what = f"cleaning {corpus.name} by language"
    if steps.language != "off" and unknown_languages((language,), what):
        raise UserError(f"{what}: py3langid does not know {language}. {without_languages(corpus)}")
    side = examine(find_side(raw, f"{TRAIN}.{language}"), steps.not_utf8)
    if side.problems:
        raise UserError("\n  ".join(side.problems))
    options = {"source-lang": language, "clean": steps.chosen, "cleaner": CLEANER}
    libraries = ("numpy", "py3langid") if steps.language != "off" else ("numpy",)
    manifest = Manifest(MANIFEST, options, {side.path.name: side.sha256}, libraries)
    if manifest.is_up_to_date(out / "raw"):
        return False
    work = out / ".raw.work"
    try:
        text = _plain(side.path, work / f"{TRAIN}.{language}")
        with manifest.written(out / "raw") as (folder, facts):
            report, warnings = _clean(Texts(TRAIN, (text, text), side.lines), language, steps, folder, workers)
            check_unchanged([side])
            if not report.kept:
                raise UserError(f"cleaning dropped every line of {side.path}:\n{table([report])}\n{examples([report])}")
            facts["counts"] = {TRAIN: report.kept}
            facts["dropped"] = {report.name: report.to_json()["dropped"]}
            record = {"clean": steps.chosen, "counts": facts["counts"], "warnings": warnings}
            write_json(folder / REPORT_JSON, record | {"parts": [report.to_json()]})
            lines = [f"# Text in {language}", "", table([report]), *(f"\nWarning: {each}." for each in warnings)]
            (folder / REPORT).write_text("\n".join(lines) + "\n" + examples([report]) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(table([report]))
    return True


def _plain(path: Path, out: Path) -> Path:
    """Return the path of the plain text: that of the file or, if it is gzipped, `out`, to which it is unpacked."""
    if path.suffix != ".gz":
        return path
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_text(path) as text, out.open("wb") as stream:
        shutil.copyfileobj(text, stream)
    return out


def _clean(texts: Texts, language: str, steps: Steps, folder: Path, workers: int) -> tuple[PartReport, list[str]]:
    """Clean the text as a bitext that has it on both sides, and write one side. Return the report and warnings."""
    pairs = sample(texts, SAMPLE, steps)
    traces = looks_tokenised([source for source, _ in pairs], language)
    warnings = [f"{texts.name} looks tokenised: {'; '.join(traces)}"] if traces else []
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    plan = make_plan([pairs], steps, (language, language), [], HoldOut())
    report, seen = PartReport(texts.name), Seen()
    bar = tqdm(total=texts.lines, desc="cleaning", unit=" lines", unit_scale=True, delay=2, disable=None)
    with bar, (folder / f"{TRAIN}.{language}").open("wb") as stream:
        for block in map_chunks(Cleaner(plan), blocks(0, texts), workers):
            if block.hashes is not None:
                drop_duplicates(block, seen)
            report.add(block, None)
            stream.writelines(line + b"\n" for line in block.source)
            bar.update(block.read)
    return report, warnings
