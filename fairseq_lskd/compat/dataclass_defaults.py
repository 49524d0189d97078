"""Configs as default values in configs: fairseq 0.12 on Python 3.11 and later.

fairseq writes ``common: CommonConfig = CommonConfig()``. Since Python 3.11, ``dataclasses`` refuses default values of
a class without ``__hash__`` ("mutable default ... CommonConfig for field common is not allowed"), and a dataclass with
``__eq__`` has no ``__hash__``. The patch gives a class that is used as a default a ``__hash__``, just before the class
that uses it is decorated. A ``default_factory`` would not work, because ``fairseq.dataclass.initialize.hydra_init``
reads ``field.default``.

Builds of fairseq that use factories are not changed. User directories and fairseq's examples with nested
``FairseqDataclass`` configs are patched too.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

NAME = "dataclass-defaults"
NEEDED_BY = '`import fairseq` fails on Python >= 3.11 ("mutable default ... CommonConfig")'
MODULE = "fairseq.dataclass.configs"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "before"


def needed() -> bool:
    """Whether ``dataclasses`` refuses an instance of an ordinary dataclass as a default."""

    @dataclasses.dataclass
    class Inner:
        number: int = 0

    class Owner:
        inner: Inner = Inner()

    try:
        dataclasses.dataclass(Owner)
    except ValueError:
        return True
    return False


def hash_by_type(self: Any) -> int:
    """Return a hash that is consistent with ``__eq__``: equal configs have the same type."""
    return hash(type(self))


def make_defaults_hashable(owner: type) -> None:
    """Give a ``__hash__`` to the class of each dataclass instance that ``owner`` has as a default."""
    for value in vars(owner).values():
        default = value.default if isinstance(value, dataclasses.Field) else value
        kind = type(default)
        if dataclasses.is_dataclass(kind) and kind.__hash__ is None:
            kind.__hash__ = hash_by_type


def init_subclass(cls: type, **arguments: Any) -> None:
    """Replace ``FairseqDataclass.__init_subclass__``, which runs before ``@dataclass`` reads a config's defaults."""
    super(sys.modules[MODULE].FairseqDataclass, cls).__init_subclass__(**arguments)
    make_defaults_hashable(cls)


def apply() -> None:
    """Give fairseq's base config `init_subclass` as soon as the base is defined.

    The base and the configs are in the same module. So ``dataclasses.dataclass`` is replaced until it is called on the
    first class of that module, which is the base.
    """
    original: Any = dataclasses.dataclass
    if MODULE in sys.modules and hasattr(sys.modules[MODULE], "FairseqDataclass"):
        return
    if getattr(original, "stands_in", False):
        return

    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        if isinstance(cls, type) and cls.__module__ == MODULE:
            dataclasses.dataclass = original
            sys.modules[MODULE].__dict__["dataclass"] = original
            if "__init_subclass__" not in vars(cls):
                cls.__init_subclass__ = classmethod(init_subclass)  # type: ignore[assignment]  # set from outside, on purpose
        return original(cls, **options)

    dataclass.stands_in = True  # type: ignore[attr-defined]  # a mark on a function
    dataclasses.dataclass = dataclass
