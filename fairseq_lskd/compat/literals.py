"""Read Python literals, and arithmetic with them, without running code.

fairseq passes options such as ``[(512, 3)] * 20`` to ``eval``. `evaluate` reads all such options of fairseq's
architectures.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

#: Maximum number of characters in a text, and of items in a product of a list. fairseq needs about 200 and 20.
LONGEST = 10_000
MOST = 10_000

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_SEQUENCES = {ast.List: list, ast.Tuple: tuple, ast.Set: set}


class NotALiteral(ValueError):
    """A text that cannot be read without running code."""


def evaluate(text: Any, *scopes: Any) -> Any:
    """Return the value that ``eval`` gives a text of literals.

    Literals are numbers, strings, truth values and None; lists, tuples, sets and dictionaries of them; and arithmetic
    with them. `scopes`, the namespaces that ``eval`` takes, are ignored.

    Raises:
        NotALiteral: for anything else: names, calls, attributes, huge products, invalid syntax.
        TypeError: if `text` is not a string, as ``eval`` does; fairseq's ``eval_bool`` relies on it.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected a string to evaluate, found {type(text).__name__}")
    shown = text if len(text) <= 100 else f"{text[:100]}…"
    if len(text) > LONGEST:
        raise NotALiteral(f"{shown!r}: expected at most {LONGEST:,} characters, found {len(text):,}")
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except NotALiteral as error:
        raise NotALiteral(f"{shown!r} is not evaluated: expected numbers and lists, found {error}") from None
    except (SyntaxError, ArithmeticError, TypeError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        raise NotALiteral(f"{shown!r} is not evaluated: {reason}") from None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | None):
        return node.value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return _SEQUENCES[type(node)](map(_value, node.elts))
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_value(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left), _value(node.right)
        _check_size(node.op, left, right)
        return _BINARY[type(node.op)](left, right)
    raise NotALiteral(ast.unparse(node)[:60])


def _check_size(kind: ast.operator, left: Any, right: Any) -> None:
    """Refuse operations that would fill the memory or take too long."""
    if isinstance(kind, ast.Mod) and isinstance(left, str):
        raise NotALiteral("a formatted string")
    if isinstance(kind, ast.Pow) and (abs(left) > 1_000_000 or abs(right) > 64):
        raise NotALiteral("too large a power")
    if isinstance(kind, ast.Mult):
        for items, times in ((left, right), (right, left)):
            if isinstance(items, str | list | tuple) and isinstance(times, int) and len(items) * times > MOST:
                raise NotALiteral(f"{len(items) * times:,} items")
