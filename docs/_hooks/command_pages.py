"""A page for each subcommand of `lskd`, from its parser."""

from __future__ import annotations

import argparse
import importlib

from options import cell, escaped, paragraphs, tables

from fairseq_lskd.cli import COMMANDS


def uris() -> dict[str, str]:
    """The page of each command."""
    return {name: f"reference/commands/{name}.md" for name in COMMANDS}


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command, as `lskd` builds it."""
    module = importlib.import_module(f"fairseq_lskd.cli.{name}")
    parser = argparse.ArgumentParser(prog=f"lskd {name}", description=module.__doc__, epilog=module.EXAMPLES)
    module.add_arguments(parser)
    return parser


def below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The subcommands of a parser."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def described(parser: argparse.ArgumentParser) -> list[str]:
    """Description, usage, options and examples."""
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    parts = [paragraphs(parser.description or ""), f"```text\n{usage}\n```", tables(parser)]
    if parser.epilog:
        parts += ["### Examples", f"```text\n{parser.epilog.removeprefix('examples:').strip(chr(10)).rstrip()}\n```"]
    return [part for part in parts if part]


def page(name: str) -> str:
    """The page of a command."""
    parser = parser_of(name)
    parts = [f"# lskd {name}", *described(parser)]
    for action, subparser in below(parser).items():
        subparser.prog = f"lskd {name} {action}"
        parts += [f"## lskd {name} {action}", *described(subparser)]
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """All pages, by their place in the site."""
    rows = [f"| [`lskd {name}`](commands/{name}.md) | {cell(escaped(line))} |" for name, line in COMMANDS.items()]
    overview = "\n".join(["# Commands", "", "| command | what it does |", "|---|---|", *rows, ""])
    return {"reference/commands.md": overview} | {uri: page(name) for name, uri in uris().items()}
