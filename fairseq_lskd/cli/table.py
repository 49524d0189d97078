"""Gather result records in one results.json and print them as a table, raw or as means over seeds."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_beside, write_json
from ..reading import COUNT, NUMBER, read_json

EXAMPLES = """examples:
  lskd table runs/mine/*/result.json --out runs/mine/results.json
  lskd table runs/mine/results.json --style github
  lskd table runs/mine/*/result.json --over-seeds --speed runs/mine/speed.json --csv rows.csv --plot quality.svg
  lskd table runs/mine/results.json --over-seeds --write table.md table.tex
  lskd table runs/mine/results.json --differences
"""
#: Of --write, by the file's ending.
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
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("records", type=Path, nargs="+", metavar="FILE", help="result.json of a run, or a results.json")
    parser.add_argument("--over-seeds", action="store_true", help="a row a system: mean and standard deviation")
    parser.add_argument(
        "--differences",
        action="store_true",
        help="a row a pair of systems that one label tells apart (a teacher's smoothing, say): paired over seeds",
    )
    parser.add_argument("--speed", type=Path, metavar="FILE", help="decoding speeds that `lskd speed` wrote")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all records to this results.json")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="and as rows of numbers to this one")
    parser.add_argument(
        "--write",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"write the table: {', '.join(STYLES)}",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw BLEU against size and speed: .svg, .png, .pdf")
    parser.add_argument("--title", default="", metavar="TEXT", help="of the picture")
    parser.add_argument(
        "--style",
        default="simple",
        metavar="NAME",
        help="simple, github, latex, tsv, or another of tabulate's (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from tabulate import tabulate_formats

    from ..scoring.differences import differences
    from ..scoring.over_seeds import add_speeds, mean_records
    from ..scoring.remarks import closed, warnings
    from ..scoring.table import format_differences, format_table
    from ..scoring.taught import add_shares, shares_as_numbers

    if args.style not in tabulate_formats:
        raise UserError(f"--style {args.style}: expected one of {', '.join(tabulate_formats)}")
    if wrong := [str(path) for path in args.write if path.suffix not in STYLES]:
        raise UserError(f"--write {', '.join(wrong)}: expected a name that ends in {', '.join(STYLES)}")
    records = _read(args.records, one_a_seed=args.over_seeds or args.differences)
    if args.speed:
        add_speeds(records, _speeds(args.speed))
    if args.out:
        write_json(args.out, records)
    if args.csv:
        numbers = shares_as_numbers(records, args.over_seeds)
        _write_csv(args.csv, [record | more for record, more in zip(records, numbers, strict=True)])
    shown = mean_records(records) if args.over_seeds else [dict(record) for record in records]
    add_shares(shown, records, args.over_seeds)
    if args.differences:
        of = differences(records)
        formatted = partial(format_differences, *of, closed=closed(records), warnings=warnings(records))
    else:
        formatted = partial(format_table, shown, warnings=warnings(records))
    for path in args.write:
        style = STYLES[path.suffix]
        text = formatted(style=style)
        with write_beside(path) as part:
            part.write_text((_lines_apart(text) if style == "github" else text) + "\n", encoding="utf-8")
    if args.plot:
        from ..scoring.quality_plot import draw

        draw(shown, args.plot, args.title)
    print(formatted(style=args.style))
    return 0


def _read(paths: list[Path], one_a_seed: bool) -> list[dict[str, Any]]:
    """All records, the same one only once; with `one_a_seed`, no other one of its system and seed."""
    from ..records.result import read_results

    kept: dict[tuple[Any, ...], tuple[Path, dict[str, Any]]] = {}
    for path in paths:
        for record in read_results(path):
            if not _is_record(record):
                raise UserError(f"{path}: a record without a sacreBLEU signature: expected those of `lskd record`")
            same = record.get("checkpoint_sha256") or json.dumps(record, sort_keys=True)
            key = record["system"], record.get("seed"), same, record.get("test_set")
            kept[key] = path, kept.get(key, (path, {}))[1] | record
    if not kept:
        raise UserError(f"{', '.join(map(str, paths))}: no record in there")
    tests = {test or "the data's own": path for (*_, test), (path, _) in kept.items()}
    if len(tests) > 1:
        listed = ", ".join(f"{test} ({path})" for test, path in tests.items())
        raise UserError(f"these records are of several test sets: {listed}; give each test set a table of its own")
    seen: dict[tuple[Any, ...], Path] = {}
    for (system, seed, *_), (path, _) in kept.items():
        twice, other = (system, seed) in seen, seen.setdefault((system, seed), path)
        if one_a_seed and twice:
            raise UserError(
                f"{path}: the record of {system} is another than that in {other}. Runs of one system are told apart by "
                "their seed (lskd run --label seed=2); other runs need another name, or a table of their own"
            )
    return [record for _, record in kept.values()]


def _is_record(found: dict[str, Any]) -> bool:
    """Whether it has a score at least, and every score's signature."""
    from ..scoring.metrics import NAMES, signature_key

    scores = found.keys() & NAMES.keys()
    return bool(scores) and {signature_key(name) for name in scores} <= found.keys()


def _speeds(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, _SPEEDS, "the JSON that `lskd speed` writes")
    except UserError as error:
        raise UserError(f"--speed {error}") from None


def _write_csv(path: Path, records: list[dict[str, Any]]) -> None:
    """Every field that is a number or a word, those of `exported` too; commands and versions stay in the JSON."""
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


def _lines_apart(text: str) -> str:
    """Markdown joins lines, unless they end in two spaces, or are of a list."""
    table, _, below = text.partition("\n\n")
    notes, _, listed = below.partition("\n\n")
    return "\n\n".join(filter(None, [table, "  \n".join(f"`{line}`" for line in notes.splitlines()), listed]))
