"""Gather result records in one results.json and print them as a table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..errors import UserError
from ..files import write_json

EXAMPLES = """examples:
  lskd table runs/mine/*/result.json --out runs/mine/results.json
  lskd table runs/mine/results.json --style github
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("records", type=Path, nargs="+", metavar="FILE", help="result.json of a run, or a results.json")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all records to this results.json")
    parser.add_argument(
        "--style",
        default="simple",
        metavar="NAME",
        help="simple, github, latex, tsv, or another of tabulate's (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from tabulate import tabulate_formats

    from ..scoring import format_table

    if args.style not in tabulate_formats:
        raise UserError(f"--style {args.style}: expected one of {', '.join(tabulate_formats)}")
    records = []
    for path in args.records:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: expected the JSON that `lskd score` writes ({error})") from None
        records += found if isinstance(found, list) else [found]
    if not records:
        raise UserError(f"{', '.join(map(str, args.records))}: no record in there")
    if not all(isinstance(record, dict) and {"signature", "chrf_signature"} <= record.keys() for record in records):
        raise UserError("a record without a sacreBLEU signature: these are not results that `lskd score` wrote")
    if args.out:
        write_json(args.out, records)
    print(format_table(records, args.style))
    return 0
