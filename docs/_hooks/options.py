"""The options of an argparse parser as Markdown."""

from __future__ import annotations

import argparse
import html
import os
import re

_CODE = re.compile(r"(`[^`]*`)")
_FLAG = re.compile(r"(?<![\w`-])--?[a-z][\w-]*")
_PAGE = re.compile(r"\bdocs/([\w-]+)\.md\b")


def escaped(text: str) -> str:
    """Text as Markdown shows it literally, but for what stands between backticks; flags as code, pages as links."""
    parts = _CODE.split(_FLAG.sub(r"`\g<0>`", text) if "`" not in text else text)
    # Not all of Markdown's dialects let a backslash escape "<".
    parts[::2] = [re.sub(r"([\\*_\[\]])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2]]
    return _PAGE.sub(r"[docs/\1.md](../../\1.md)", "".join(parts))


def paragraphs(text: str) -> str:
    """A docstring's paragraphs."""
    return "\n\n".join(escaped(" ".join(part.split())) for part in re.split(r"\n\s*\n", text.strip()))


def listed(action: argparse.Action) -> str:
    """The choices of an option, if it has any."""
    return ", ".join(map(str, action.choices or []))


def invocation(action: argparse.Action) -> str:
    """How an option or argument is written on the command line."""
    if not action.option_strings:
        return str(action.metavar or listed(action) or action.dest.upper())
    flags = ", ".join(action.option_strings)
    if action.metavar is None:
        return flags  # a name made of the flag says nothing, and choices are in the explanation
    if isinstance(action.metavar, tuple):
        return " ".join([flags, *action.metavar])
    name = action.metavar
    return flags + {"*": f" [{name} ...]", "+": f" {name} [{name} ...]", "?": f" [{name}]"}.get(
        action.nargs, f" {name}"
    )


def explanation(action: argparse.Action, prog: str) -> str:
    """The help text, with choices and default if it does not state them."""
    values = {**vars(action), "prog": prog}
    if action.dest in ("workers", "jobs", "threads") and action.default == os.cpu_count():
        values["default"] = "all cores"  # not those of the machine that built the page
    text = (action.help or "") % values
    if action.option_strings and any(str(choice) not in text for choice in action.choices or []):
        text = f"{text}; one of {listed(action)}".removeprefix("; ")
    nothing = action.default in (None, False, argparse.SUPPRESS) or action.default == []
    if nothing or "default" in (action.help or ""):
        return text
    return f"{text} (default: {values['default']})".strip()


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def tables(parser: argparse.ArgumentParser) -> str:
    """A table for each group of options that has any."""
    parts = []
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help is not argparse.SUPPRESS
            and not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
        ]
        if not actions:
            continue
        title = {"positional arguments": "Arguments", "options": "Options"}.get(group.title or "", group.title or "")
        rows = [
            f"| `{cell(invocation(action))}` | {cell(escaped(explanation(action, parser.prog)))}"
            f"{' (**required**)' if action.required and action.option_strings else ''} |"
            for action in actions
        ]
        about = [escaped(group.description)] if group.description else []
        title = title[:1].upper() + title[1:]
        parts.append("\n\n".join([f"### {title}", *about, "\n".join(["| option | meaning |", "|---|---|", *rows])]))
    return "\n\n".join(parts)
