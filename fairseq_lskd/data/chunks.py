"""Read a text in chunks of whole lines, and map a function over them with several processes, in bounded memory."""

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

SIZE = 1 << 20  # bytes per chunk, which then extends to the end of its last line
AHEAD = 2  # chunks per worker that are read ahead

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a file, as they are in the file."""

    first: int  #: number of the first line, from 1
    raw: bytes

    def __len__(self) -> int:
        """Return the number of lines."""
        return self.raw.count(b"\n") + (not self.raw.endswith(b"\n"))

    def raw_lines(self) -> list[str]:
        """Return the lines as they are, without LF."""
        lines = self.raw.decode("utf-8").split("\n")
        if self.raw.endswith(b"\n"):
            lines.pop()
        return lines

    def lines(self) -> list[str]:
        """Return the lines after `clean`."""
        return [clean(line) for line in self.raw_lines()]


def clean(line: str) -> str:
    """Replace every run of white space by one space.

    SentencePiece keeps some of Unicode's separators (such as U+0085) in its pieces, and fairseq splits pieces there.
    """
    return " ".join(line.split())


def read_chunks(path: Path) -> Iterator[Chunk]:
    """Yield the chunks of a UTF-8 file that was checked before, gzipped if its name ends in `.gz`. Lines end at LF."""
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
    """Yield `function(item)` for each item, in order, using `workers` processes if there is more than one item.

    The function, items and results must be picklable. At most `AHEAD` items per worker are read ahead, so memory does
    not grow with the text.

    Raises:
        UserError: if a worker was killed, as the system does when memory runs out.
    """
    items = iter(items)
    begun = list(itertools.islice(items, 2))
    items = itertools.chain(begun, items)
    if workers == 1 or len(begun) < 2:
        yield from map(function, items)
        return
    # Not fork: this process has other threads (a progress bar's), and forking it could deadlock.
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
            f"one of {workers} worker processes was killed, probably because memory ran out; use fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_function: Callable[[Any], Any]


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    # Ctrl-C reaches every process of the terminal. Only the parent handles it, and stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(item: Any) -> Any:
    return _function(item)
