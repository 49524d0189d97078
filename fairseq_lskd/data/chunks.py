"""A text in chunks of whole lines, and a function over them in several processes: in order, in bounded memory."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UserError
from ..lines import open_text

SIZE = 1 << 20  # bytes of a chunk, up to the end of its last line
AHEAD = 2  # chunks for each worker that are read before the first of them is done

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a text as they are in the file."""

    first: int  #: number of the first line, from 1
    raw: bytes

    def __len__(self) -> int:
        """How many lines there are."""
        return self.raw.count(b"\n") + (not self.raw.endswith(b"\n"))

    def raw_lines(self) -> list[str]:
        """Each line as it is, but for LF."""
        lines = self.raw.decode("utf-8").split("\n")
        if self.raw.endswith(b"\n"):
            lines.pop()
        return lines

    def lines(self) -> list[str]:
        """Each line, cleaned."""
        return [clean(line) for line in self.raw_lines()]


def clean(line: str) -> str:
    """The line with every run of white space as one space.

    SentencePiece lets some of Unicode's separators (U+0085 for one) into its pieces; fairseq splits there.
    """
    return " ".join(line.split())


def read_chunks(path: Path) -> Iterator[Chunk]:
    """The chunks of a UTF-8 file that was checked before, gzipped if it is called `.gz`. Lines end at LF."""
    first = 1
    with open_text(path) as stream:
        while raw := stream.read(SIZE):
            raw += stream.readline()
            if first == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            chunk = Chunk(first, raw)
            yield chunk
            first += len(chunk)


def map_chunks(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of each item, in their order, by `workers` processes if there is work for more than one.

    Function, items and results travel between processes: they are pickled. Only `AHEAD` items a worker are read
    before they are needed, so that memory does not grow with the text.

    Raises:
        UserError: if a process was killed, which the system does where memory runs out.
    """
    items = iter(items)
    begun = list(itertools.islice(items, 2))
    items = itertools.chain(begun, items)
    if workers == 1 or len(begun) < 2:
        yield from map(function, items)
        return
    # Not by fork: a process that has other threads (a progress bar's) must not be copied.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin, initargs=(function,))
    waiting: deque[Any] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(_call, item))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            f"one of {workers} worker processes was killed; if it was for want of memory, give fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_function: Callable[[Any], Any]


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    # Ctrl-C reaches every process of the terminal: the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(item: Any) -> Any:
    return _function(item)
