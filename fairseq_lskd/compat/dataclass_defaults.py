"""A config as the default of a config: fairseq 0.12 on Python 3.11 and later.

fairseq writes ``common: CommonConfig = CommonConfig()``. Since 3.11 ``dataclasses`` takes every default
whose class has no ``__hash__`` for a mutable one and refuses it ("mutable default ... CommonConfig for field
common is not allowed"), and a dataclass with ``__eq__`` has none. So a class used as a default is given
one, just before the class that uses it is decorated. A ``default_factory`` would not do:
``fairseq.dataclass.initialize.hydra_init`` reads ``field.default``.

Builds of fairseq whose configs already have factories are left as they are: no class there is touched.
User directories and fairseq's examples that nest ``FairseqDataclass`` configs are mended like fairseq.
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
    """Equal configs are of one type, so this is a hash that agrees with their ``__eq__``."""
    return hash(type(self))


def make_defaults_hashable(owner: type) -> None:
    """Give a ``__hash__`` to the class of each dataclass instance that ``owner`` has as a default."""
    for value in vars(owner).values():
        default = value.default if isinstance(value, dataclasses.Field) else value
        kind = type(default)
        if dataclasses.is_dataclass(kind) and kind.__hash__ is None:
            kind.__hash__ = hash_by_type


def init_subclass(cls: type, **arguments: Any) -> None:
    """``FairseqDataclass.__init_subclass__``: runs on a config before ``@dataclass`` reads its defaults."""
    super(sys.modules[MODULE].FairseqDataclass, cls).__init_subclass__(**arguments)
    make_defaults_hashable(cls)


def apply() -> None:
    """Have `init_subclass` on fairseq's base config from the moment it is made.

    Base and configs are in one module, so ``dataclasses.dataclass`` is stood in for until it is
    called on the base, the first class of that module; everything else passes straight through.
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
