"""Download a corpus, or read its files from disk, and clean it to `DATA/raw/{train,valid,test}.LANG`."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from ..files import free, sha256, size, write_json
from .acquire.download import fetch
from .acquire.locate import Located, cached, in_cache, in_folder
from .acquire.sources import resolve
from .acquire.texts import Text, take
from .clean.report import PartReport, examples, table
from .clean.run import write_clean
from .corpora import Corpus
from .inspection import Held, ready
from .outputs import Manifest
from .shifting import Alignment, refusal

MANIFEST, REPORT, REPORT_JSON = "prepare.json", "report.md", "report.json"
#: Increase it when the same steps on the same text give another result.
CLEANER = 1
DRY_RUN = 30_000  # pairs in the sample


@dataclass(frozen=True)
class Request:
    """What to prepare: from the files in `raw` if it is given, else from the cache and the network.

    With `allow_shifted`, sides of `raw` that are out of step give a warning. Downloads always do.
    """

    corpus: Corpus
    out: Path
    cache: Path
    raw: Path | None = None
    workers: int = 1
    allow_shifted: bool = False


def prepare(request: Request) -> bool:
    """Write `DATA/raw`. Return False if it is up to date.

    Texts extracted from archives stay in `DATA/.raw.work` until everything is done, so that another run can use them.

    Raises:
        UserError: for files that are missing, broken, misaligned, out of step or not the expected ones, and for a full
            disk.
    """
    out, work = request.out / "raw", request.out / ".raw.work"
    with _full_disk(out, work, request.cache):
        corpus, located, fetched = _acquire(request, out)
        if located is None:
            return False
        taken = take(corpus, _texts_only(located), work)
        manifest = _manifest(corpus, _digests(corpus, located, taken, request, fetched))
        if manifest.is_up_to_date(out):
            shutil.rmtree(work, ignore_errors=True)
            return False
        texts = taken | take(corpus, {key: found for key, found in located.items() if key not in taken}, work)
        _write(request, corpus, texts, manifest, out)
        shutil.rmtree(work, ignore_errors=True)
    return True


def dry_run(request: Request) -> str:
    """Report in Markdown what would be downloaded or, from a sample, what cleaning would drop. Write no DATA/raw."""
    work = request.out / ".raw.work"
    corpus = resolve(request.corpus, request.cache)
    with _full_disk(work):
        if request.raw is None:
            located, missing = in_cache(corpus, request.cache)
            if missing:
                lines = [f"- {each.name} ({size(each.size)}): {each.url}" for each in missing]
                total = size(sum(each.size or 0 for each in missing))
                return f"would download {len(missing)} files, at least {total}:\n\n" + "\n".join(lines)
        else:
            located = in_folder(corpus, request.raw)
        texts = take(corpus, located, work)
        train, held, plan, warnings = ready(corpus, texts)
        total_lines = sum(part.lines for part in train)
        every = max(1, total_lines // DRY_RUN)
        reports = write_clean(train, plan, corpus.hold_out, None, request.workers, every)
    alignments = _alignments(corpus, held, reports)
    _warn([*warnings, *(shift for each in alignments for shift in each.shifts()), *_doubts(alignments, reports)])
    read = sum(report.read for report in reports)
    how = f"from {read:,} of {total_lines:,} pairs" if every > 1 else f"all {total_lines:,} pairs"
    sampled = every > 1 and corpus.steps.duplicates != "off"
    alone = " (duplicates within this sample only; there are more)" if sampled else ""
    return (
        f"# {corpus.title}: what cleaning would drop, {how}{alone}\n\n"
        f"{table(reports, [part.lines for part in train])}\n{examples(reports)}"
    )


def _acquire(request: Request, out: Path) -> tuple[Corpus, Located | None, set[Path]]:
    """Locate or download all files. Return the downloaded ones last, and None if `out` is up to date without any."""
    corpus = resolve(request.corpus, request.cache)
    if request.raw is not None:
        return corpus, in_folder(corpus, request.raw), set()
    located, missing = in_cache(corpus, request.cache)
    if missing:
        pinned = _pinned(corpus)
        if pinned is not None and _manifest(corpus, pinned).is_up_to_date(out):
            return corpus, None, set()
        needed, there = sum(download.size or 0 for download in missing), free(request.cache)
        if there < needed:
            raise UserError(
                f"{request.cache}: the downloads need {size(needed)}, and {size(there)} are free; give another --cache"
            )
        fetch(missing, request.cache, corpus.name)
    return corpus, located, {cached(request.cache, download) for download in missing}


def _manifest(corpus: Corpus, inputs: dict[str, str]) -> Manifest:
    options: dict[str, Any] = {
        "corpus": corpus.name,
        "languages": list(corpus.languages),
        "clean": corpus.steps.chosen,
        "hold-out": {key: value for key, value in dataclasses.asdict(corpus.hold_out).items() if value},
        "cleaner": CLEANER,
    }
    libraries = ("numpy", "py3langid") if corpus.steps.language != "off" else ("numpy",)
    flags = {"corpus": "CORPUS", "languages": "-s and -t", "clean": "cleaning", "cleaner": "version of the cleaning"}
    return Manifest(MANIFEST, options, inputs, libraries, flags)


def _label(corpus: Corpus, number: int, language: str) -> str:
    part = corpus.parts[number]
    return f"{part.split} {number + 1}, {part.name}, {language}"


def _pinned(corpus: Corpus) -> dict[str, str] | None:
    """Return the digests of all files, if the corpus file has all of them."""
    inputs = {}
    for number, part in enumerate(corpus.parts):
        for language, side in part.sides.items():
            whole = side.download.sha256 if side.download and side.member else side.text_sha256
            if whole is None:
                return None
            inputs[_label(corpus, number, language)] = whole
    return inputs


def _texts_only(located: Located) -> Located:
    return {key: found for key, found in located.items() if found.member is None}


def _digests(
    corpus: Corpus,
    located: Located,
    taken: dict[tuple[int, str], Text],
    request: Request,
    fetched: Collection[Path],
) -> dict[str, str]:
    """Return the SHA-256 of the archive or text of every side. Refuse wrong files, or warn of those in a --raw folder.

    Only files that this run downloaded are removed: the user or another program may have put the rest into the cache.
    """
    inputs: dict[str, str] = {}
    archives: dict[Path, str] = {}
    problems: dict[str, None] = {}
    for (number, language), found in located.items():
        side = corpus.parts[number].sides[language]
        if found.member is None:
            digest, known = taken[number, language].sha256, side.text_sha256
        else:
            known = side.download.sha256 if side.download else None
            verified = request.raw is None and known is not None  # by the download
            if found.path not in archives:
                archives[found.path] = known if verified and known else sha256(found.path)
            digest = archives[found.path]
        if known is not None and digest != known:
            problem = f"{found.path}: its SHA-256 is {digest[:12]}…, expected {known[:12]}…"
            if found.path in fetched:
                found.path.unlink(missing_ok=True)
                problem += "; removed"
            elif request.raw is None:
                problem += "; it was in the cache before: delete it to download it again"
            problems[problem] = None
        inputs[_label(corpus, number, language)] = digest
    if problems and request.raw is None:
        raise UserError(
            "these files are not the expected ones; run again to download them:\n  " + "\n  ".join(problems)
        )
    for problem in problems:
        print(
            f"warning: {problem}: this is another text, and results on it cannot be compared with published ones",
            file=sys.stderr,
        )
    return inputs


def _write(request: Request, corpus: Corpus, texts: dict[tuple[int, str], Text], manifest: Manifest, out: Path) -> None:
    train, held, plan, warnings = ready(corpus, texts)
    _warn(warnings)
    with manifest.written(out) as (folder, facts):
        counts = dict.fromkeys(("train", "valid", "test"), 0)
        for part, pairs in held:
            counts[part.split] += len(pairs)
            for side, language in enumerate(corpus.languages):
                with (folder / f"{part.split}.{language}").open("a", encoding="utf-8", newline="\n") as stream:
                    stream.writelines(f"{pair[side]}\n" for pair in pairs)
        total = sum(part.lines for part in train)
        with tqdm(total=total, desc="cleaning", unit=" pairs", unit_scale=True, delay=2, disable=None) as bar:
            reports = write_clean(train, plan, corpus.hold_out, folder, request.workers, progress=bar.update)
        alignments = _alignments(corpus, held, reports)
        found = _checked_steps(alignments, request) + _doubts(alignments, reports)
        _warn(found)
        warnings += found
        counts["train"] += sum(report.kept for report in reports)
        drawn = "valid" if corpus.hold_out.valid else "test"
        if corpus.hold_out.by == "line":
            counts[drawn] += sum(report.held_out for report in reports)
        else:
            for split in ("valid", "test"):
                if getattr(corpus.hold_out, split):
                    counts[split] = _count(folder / f"{split}.{corpus.languages[0]}")
        if empty := [split for split, count in counts.items() if not count]:
            raise UserError(
                f"cleaning left no pair in {' and '.join(empty)}:\n{table(reports)}\n{examples(reports)}\n"
                "Change [clean] in the corpus file; --dry-run shows what each step drops"
            )
        facts["counts"] = counts
        facts["corpus"] = {"title": corpus.title, "licence": corpus.licence, "citation": corpus.citation}
        facts["vocabulary"] = dict(corpus.vocabulary)
        facts["dropped"] = {report.name: report.to_json()["dropped"] for report in reports}
        _report(folder, corpus, reports, counts, warnings)
    print(table(reports))


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _alignments(corpus: Corpus, held: Held, reports: Sequence[PartReport]) -> list[Alignment]:
    """Return the checks of all parts: those of train, which cleaning has filled, and of valid and test."""
    source, target = corpus.languages
    return [report.alignment for report in reports] + [
        Alignment.of(f"{part.name}.{source}", f"{part.name}.{target}", pairs) for part, pairs in held
    ]


def _checked_steps(alignments: Sequence[Alignment], request: Request) -> list[str]:
    """Return warnings of lines out of step, or raise a `UserError` for those in files of the user's own."""
    shifts = [shift for each in alignments for shift in each.shifts()]
    if shifts and request.raw is not None and not request.allow_shifted:
        raise UserError(refusal(shifts))
    return shifts


def _doubts(alignments: Sequence[Alignment], reports: Sequence[PartReport]) -> list[str]:
    """Return warnings of sides that are not translations of each other, and of filters that dropped many pairs."""
    unrelated = [words for each in alignments if (words := each.unrelated())]
    return unrelated + [warning for report in reports for warning in report.many_dropped()]


def _report(
    folder: Path, corpus: Corpus, reports: Sequence[PartReport], counts: dict[str, int], warnings: Sequence[str]
) -> None:
    steps = corpus.steps.chosen
    write_json(
        folder / REPORT_JSON,
        {"corpus": corpus.name, "clean": steps, "counts": counts, "warnings": list(warnings)}
        | {"parts": [report.to_json() for report in reports]},
    )
    shown = ", ".join(f"`{name} = {value}`" for name, value in steps.items()) or "none"
    asked, changed = sum(r.asked for r in reports), sum(r.changed for r in reports)
    lines = [f"# {corpus.title}", "", table(reports), ""]
    lines += [f"train {counts['train']:,}, valid {counts['valid']:,}, test {counts['test']:,} pairs.", ""]
    lines += [f"Steps: {shown}.", "", f"{changed:,} of the pairs kept were changed."]
    if asked:
        how = "the doubtful ones" if corpus.steps.language == "doubtful" else "all that passed the other filters"
        lines += ["", f"py3langid identified the language of {asked:,} lines: {how}."]
    lines += [f"\nWarning: {warning}." for warning in warnings]
    (folder / REPORT).write_text("\n".join(lines) + "\n" + examples(reports) + "\n", encoding="utf-8")


def _count(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(1 for _ in stream)


@contextlib.contextmanager
def _full_disk(*folders: Path) -> Iterator[None]:
    """Raise a `UserError` if the disk is full. Complete downloads and texts are kept, partial files are not."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        places = ", ".join(f"{size(free(folder))} are free for {folder}" for folder in folders)
        raise UserError(
            f"the disk is full ({error.strerror}): {places}. Make room and run again: finished downloads and texts are "
            "kept and used again"
        ) from error
