"""Print result records as a table, with one row per run or with means over seeds, and collect them in one file."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..commands import languages_of
from ..errors import UserError
from ..files import write_beside, write_json
from ..reading import COUNT, NUMBER, read_json
from ._options import TABLE_STYLES, add_options

EXAMPLES = """examples:
  lskd table runs/mine/*/result.json --out runs/mine/results.json
  lskd table runs/mine/results.json --style github
  lskd table runs/mine/*/result.json --over-seeds --speed runs/mine/speed.json --csv rows.csv --plot quality.svg
  lskd table runs/mine/results.json --over-seeds --write table.md table.tex
  lskd table runs/mine/results.json --differences
"""
#: The styles of --write, by the extension of the file.
STYLES = {".md": "github", ".tex": "latex_booktabs", ".tsv": "tsv", ".html": "html", ".txt": "simple"}

_SPEEDS = {
    "systems": {
        str: {
            "sentences_per_second": NUMBER,
            "others_cores?": (NUMBER, type(None)),
            "exported?": {"sentences_per_second": NUMBER, "others_cores?": (NUMBER, type(None))},
        }
    },
    "machine": {"gpus": [str], "cpu": str},
    "threads": COUNT,
    "device?": str,
    "options?": [str],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "records", type=Path, nargs="+", metavar="FILE", help="result.json of a run, or a file that --out wrote"
    )
    parser.add_argument(
        "--over-seeds", action="store_true", help="print one row per system, with means and standard deviations"
    )
    parser.add_argument(
        "--differences",
        action="store_true",
        help="print one row per pair of systems that differ in one label (for example, the teacher's label smoothing), "
        "with differences paired by seed",
    )
    add_options(
        parser,
        ("--speed", Path, "FILE", "add the decoding speeds of this file, which `lskd speed` wrote"),
        ("--out", Path, "FILE", "write all records to this file (JSON)"),
        ("--csv", Path, "FILE", "write the numbers of all records to this file (CSV)"),
        ("--plot", Path, "FILE", "write a plot of BLEU against size and speed, as .svg, .png or .pdf"),
        ("--title", str, "TEXT", "title of the plot", ""),
        ("--style", str, "NAME", "style of the table: simple, markdown, latex, tsv, or another of tabulate", "simple"),
    )
    parser.add_argument(
        "--write",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"write the table to files; their extensions choose the format: {', '.join(STYLES)}",
    )


def run(args: argparse.Namespace) -> int:
    from tabulate import tabulate_formats

    from ..scoring.budgets import budgets
    from ..scoring.differences import differences
    from ..scoring.over_seeds import add_speeds, mean_records
    from ..scoring.remarks import closed, warnings, without_plain
    from ..scoring.table import format_differences, format_table
    from ..scoring.taught import add_shares, shares_as_numbers

    args.style = TABLE_STYLES.get(args.style, args.style)
    if args.style not in tabulate_formats:
        raise UserError(f"--style {args.style}: expected one of {', '.join(tabulate_formats)}")
    if wrong := [str(path) for path in args.write if path.suffix not in STYLES]:
        raise UserError(f"--write {', '.join(wrong)}: expected an extension of {', '.join(STYLES)}")
    records = _read_records(args.records, one_per_seed=args.over_seeds or args.differences)
    if args.speed:
        speeds = _speeds(args.speed)
        if without := add_speeds(records, speeds):
            pair = "-".join(filter(None, languages_of(speeds.get("options", ()))))
            print(
                f"warning: --speed {args.speed} has no speed of {', '.join(without)}. It has those of "
                f"{', '.join(speeds['systems'])}{f', which decoded {pair}' if pair else ''}",
                file=sys.stderr,
            )
    if args.out:
        write_json(args.out, records)
    if args.csv:
        numbers = shares_as_numbers(records, args.over_seeds)
        _write_csv(args.csv, [record | more for record, more in zip(records, numbers, strict=True)])
    shown = mean_records(records) if args.over_seeds else [dict(record) for record in records]
    add_shares(shown, records, args.over_seeds)
    if args.differences:
        of = differences(records)
        remarks = [*budgets(records), *warnings(records)]
        formatted = partial(format_differences, *of, closed=closed(records), warnings=remarks)
    else:
        formatted = partial(format_table, shown, warnings=warnings(records))
    for path in args.write:
        style = STYLES[path.suffix]
        text = formatted(style=style)
        with write_beside(path) as part:
            part.write_text((_with_line_breaks(text) if style == "github" else text) + "\n", encoding="utf-8")
    if args.plot:
        from ..scoring.quality_plot import draw

        draw(shown, args.plot, args.title)
    print(formatted(style=args.style))
    if not (args.over_seeds or args.differences or args.write):  # the calls of experiments
        for line in without_plain(records):
            print(line, file=sys.stderr)
    return 0


def _read_records(paths: list[Path], one_per_seed: bool) -> list[dict[str, Any]]:
    """Read all records, without duplicates.

    Raises:
        UserError: for records of different test sets; with `one_per_seed`, for two records of one system and seed, and
            for seeds of a system with different signatures.
    """
    from ..records.result import read_results

    kept: dict[tuple[Any, ...], tuple[Path, dict[str, Any]]] = {}
    for path in paths:
        for record in read_results(path):
            if not _is_record(record):
                raise UserError(f"{path}: a record has no sacreBLEU signature: expected records of `lskd record`")
            same = record.get("checkpoint_sha256") or json.dumps(record, sort_keys=True)
            key = record["system"], record.get("seed"), same, record.get("test_set")
            kept[key] = path, kept.get(key, (path, {}))[1] | record
    if not kept:
        raise UserError(f"{', '.join(map(str, paths))}: there are no records; expected those of `lskd record`")
    tests = {test or "the data's own": path for (*_, test), (path, _) in kept.items()}
    if len(tests) > 1:
        listed = ", ".join(f"{test} ({path})" for test, path in tests.items())
        raise UserError(f"the records are of different test sets: {listed}; print one table per test set")
    numbers = {number: path for path, record in kept.values() for number in _reference_counts(record)}
    if len(numbers) > 1:
        listed = ", ".join(f"nrefs:{number} ({path})" for number, path in numbers.items())
        raise UserError(
            f"the records have different numbers of references: {listed}. Their scores are not comparable; print one "
            "table for each test set"
        )
    seen: dict[tuple[Any, ...], Path] = {}
    for (system, seed, *_), (path, _) in kept.items():
        twice, other = (system, seed) in seen, seen.setdefault((system, seed), path)
        if one_per_seed and twice:
            raise UserError(
                f"{path} and {other} have different records of the same system and seed, {system}. Give runs of one "
                "system different seeds (lskd run --label seed=2), name other systems differently, or print one table "
                "each"
            )
    if one_per_seed:
        _check_signatures(kept.values())
    return [record for _, record in kept.values()]


def _check_signatures(records: Iterable[tuple[Path, dict[str, Any]]]) -> None:
    """Check that all seeds of a system were scored in the same way. Raise a `UserError` if they were not."""
    from ..records.result import system_of
    from ..scoring.metrics import NAMES, how_scored

    firsts: dict[tuple[str, str], tuple[Path, str]] = {}
    for path, record in records:
        for name in NAMES.keys() & record.keys():
            found, system = how_scored(record, name), system_of(record)
            other, wanted = firsts.setdefault((system, name), (path, found))
            if found != wanted:
                raise UserError(
                    f"{other} and {path}: seeds of {system} were scored in different ways, {wanted} and {found}, so "
                    f"their mean {NAMES[name]} would be wrong. Score them with the same options"
                )


def _reference_counts(record: dict[str, Any]) -> set[str]:
    """Return the numbers of references in the signatures of a record's scores; one, unless the record is broken."""
    from ..scoring.metrics import NAMES, signature_key

    signatures = (str(record.get(signature_key(name))) for name in NAMES if name in record)
    return {number for signature in signatures for number in re.findall(r"nrefs:(\d+)", signature)}


def _is_record(found: dict[str, Any]) -> bool:
    """Return whether a record has at least one score, and the signature of every score."""
    from ..scoring.metrics import NAMES, signature_key

    scores = found.keys() & NAMES.keys()
    return bool(scores) and {signature_key(name) for name in scores} <= found.keys()


def _speeds(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, _SPEEDS, "the JSON that `lskd speed` writes")
    except UserError as error:
        raise UserError(f"--speed {error}") from None


def _write_csv(path: Path, records: list[dict[str, Any]]) -> None:
    """Write all fields that are numbers or text, including those of `exported`; leave out lists and tables."""
    import csv

    records = [
        record | {f"exported_{name}": value for name, value in (record.get("exported") or {}).items()}
        for record in records
    ]
    names = [
        name
        for name in dict.fromkeys(name for record in records for name in record)
        if not any(isinstance(record.get(name), (list, dict)) for record in records)
    ]
    with write_beside(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def _with_line_breaks(text: str) -> str:
    """Keep the line breaks of the notes below a Markdown table: end each of their lines with two spaces."""
    table, _, below = text.partition("\n\n")
    notes, _, listed = below.partition("\n\n")
    return "\n\n".join(filter(None, [table, "  \n".join(f"`{line}`" for line in notes.splitlines()), listed]))
