"""Extract and check the texts of a corpus, one sentence per line.

A later run uses extracted texts again if the files from which they come have not changed.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from ...errors import UserError
from ...files import write_beside, write_json
from ...lines import conversion, open_text
from ...reading import COUNT, read_json
from ..corpora import Corpus, Part
from .archives import broken, members
from .locate import Found, Located

CHUNK = 1 << 20
#: IWSLT's markup: lines about a talk, and tags around its title and description.
_ABOUT = (b"<url>", b"<talkid>", b"<keywords>")
_AROUND = re.compile(rb"</?(?:title|description)>")
_SEGMENT = re.compile(rb"<seg[^>]*>(.*)</seg>")


@dataclass(frozen=True)
class Text:
    """A plain text on disk, one sentence per line. `sha256` is the digest of its bytes."""

    path: Path
    lines: int
    sha256: str


@dataclass(frozen=True)
class _Wanted:
    """A side to extract from a file or a member."""

    key: tuple[int, str]
    column: int | None
    out: Path


class _Sink:
    """Writes a text, counts its lines, computes its digest and, if `strict`, refuses invalid UTF-8."""

    def __init__(self, out: IO[bytes] | None, source: str, strict: bool) -> None:
        self.out, self.source = out, source
        self.lines = 0
        self.offset = 0
        self.ended = True
        self.digest = hashlib.sha256()
        self.decoder = codecs.getincrementaldecoder("utf-8")() if strict else None

    def write(self, chunk: bytes) -> None:
        if self.decoder:
            self._check(chunk)
        self.digest.update(chunk)
        self.lines += chunk.count(b"\n")
        self.offset += len(chunk)
        self.ended = chunk.endswith(b"\n") if chunk else self.ended
        if self.out:
            self.out.write(chunk)

    def _check(self, chunk: bytes, final: bool = False) -> None:
        assert self.decoder
        pending = len(self.decoder.getstate()[0])
        try:
            self.decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            at = max(0, error.start - pending)
            line = self.lines + chunk.count(b"\n", 0, at) + 1
            raise UserError(
                f"{self.source}: line {line:,} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset "
                f"{self.offset - pending + error.start:,}; {conversion(self.source, error.object)}. "
                'not_utf8 = "drop" in [clean] of the corpus file drops such lines'
            ) from error

    def close(self) -> None:
        if self.decoder:
            self._check(b"", final=True)
        if not self.ended:
            self.lines += 1


def take(corpus: Corpus, located: Located, work: Path) -> dict[tuple[int, str], Text]:
    """Return every side's text: the file itself if it is plain text, else extracted to `work`.

    Raises:
        UserError: with every problem in any of the files.
    """
    strict = corpus.steps.not_utf8 == "refuse"
    texts: dict[tuple[int, str], Text] = {}
    waiting: dict[Path, dict[str | None, list[_Wanted]]] = {}
    for key, found in located.items():
        number, language = key
        out = work / f"{number}.{language}"
        if text := _taken(out, found, corpus.parts[number], language):
            texts[key] = text
            continue
        column = corpus.parts[number].sides[language].column
        waiting.setdefault(found.path, {}).setdefault(found.member, []).append(_Wanted(key, column, out))
    if waiting:
        work.mkdir(parents=True, exist_ok=True)
    problems = []
    with tqdm(total=len(located), initial=len(texts), desc="texts", unit=" texts", delay=2, disable=None) as bar:
        for path, wanted in waiting.items():
            try:
                with broken(path):
                    for member, stream in _streams(path, wanted):
                        _take_one(corpus, located, path, member, stream, wanted[member], strict, texts)
                        bar.update(len(wanted[member]))
                # Only now, because damage may only show at the end of an archive, where its checksum is.
                for want in itertools.chain.from_iterable(wanted.values()):
                    number, language = want.key
                    _stamp(want.out, located[want.key], corpus.parts[number], language, texts[want.key])
            except UserError as error:
                problems.append(str(error))
    if problems:
        raise UserError(f"{len(problems)} problem{'s' * (len(problems) > 1)}:\n  " + "\n  ".join(problems))
    return texts


def _streams(path: Path, wanted: Mapping[str | None, list[_Wanted]]) -> Iterator[tuple[str | None, IO[bytes]]]:
    if None in wanted:
        with open_text(path) as stream:
            yield None, stream
    names = [name for name in wanted if name is not None]
    if names:
        yield from members(path, names)


def _take_one(
    corpus: Corpus,
    located: Located,
    path: Path,
    member: str | None,
    stream: IO[bytes],
    wanted: Sequence[_Wanted],
    strict: bool,
    texts: dict[tuple[int, str], Text],
) -> None:
    """Extract all sides that are in one stream."""
    number, _ = wanted[0].key
    form = _format(corpus.parts[number], located[wanted[0].key])
    source = f"{path}:{member}" if member else str(path)
    if form == "plain" and member is None and path.suffix != ".gz":
        sink = _Sink(None, source, strict)
        _copy(_whole(stream), [sink])
        for want in wanted:
            texts[want.key] = Text(path, sink.lines, sink.digest.hexdigest())
        return
    if form == "tsv":
        _write(_columns(stream, source, [want.column for want in wanted]), source, strict, wanted, texts)
    else:
        content = {"plain": _whole, "sgm": _segments, "tags": _untagged}[form](stream)
        _write(content, source, strict, wanted[:1], texts)
        for want in wanted[1:]:  # several parts share this text
            texts[want.key] = texts[wanted[0].key]


def _write(
    content: Iterator[Sequence[bytes]],
    source: str,
    strict: bool,
    wanted: Sequence[_Wanted],
    texts: dict[tuple[int, str], Text],
) -> None:
    """Write rows with the next bytes of each wanted side. The texts get their names when all are complete."""
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(write_beside(want.out)) for want in wanted]
        sinks = [_Sink(stack.enter_context(part.open("wb", buffering=CHUNK)), source, strict) for part in parts]
        _copy(content, sinks)
        for want, sink in zip(wanted, sinks, strict=True):
            texts[want.key] = Text(want.out, sink.lines, sink.digest.hexdigest())


def _copy(rows: Iterator[Sequence[bytes]], sinks: Sequence[_Sink]) -> None:
    for row in rows:
        for sink, cell in zip(sinks, row, strict=True):
            sink.write(cell)
    for sink in sinks:
        sink.close()


def _whole(stream: IO[bytes]) -> Iterator[Sequence[bytes]]:
    while chunk := stream.read(CHUNK):
        yield (chunk,)


def _columns(stream: IO[bytes], source: str, columns: Sequence[int | None]) -> Iterator[Sequence[bytes]]:
    places = [column or 0 for column in columns]
    for number, line in enumerate(stream, start=1):
        cells = line.rstrip(b"\r\n").split(b"\t")
        if len(cells) <= max(places):
            if not line.strip():
                cells = [b""] * (max(places) + 1)
            else:
                raise UserError(
                    f"{source}: line {number:,} has {len(cells)} columns, expected {max(places) + 1} or more"
                )
        yield [cells[place] + b"\n" for place in places]


def _segments(stream: IO[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield the text of each <seg>, with single spaces, as sacreBLEU reads it."""
    for line in stream:
        if match := _SEGMENT.search(line):
            text = " ".join(match[1].decode("utf-8", "surrogateescape").split())
            yield (text.encode("utf-8", "surrogateescape") + b"\n",)


def _untagged(stream: IO[bytes]) -> Iterator[Sequence[bytes]]:
    for line in stream:
        if not any(tag in line for tag in _ABOUT):
            yield (_AROUND.sub(b"", line).strip() + b"\n",)


def _format(part: Part, found: Found) -> str:
    if found.plain:
        return "plain"
    if part.format:
        return part.format
    name = (found.member or found.path.name).removesuffix(".gz")
    return {"sgm": "sgm", "xml": "sgm", "tsv": "tsv"}.get(name.rpartition(".")[2], "plain")


def _stamp(out: Path, found: Found, part: Part, language: str, text: Text) -> None:
    record = _origin(found, part, language) | {"path": str(text.path), "lines": text.lines, "sha256": text.sha256}
    write_json(out.with_name(f"{out.name}.json"), record)


def _taken(out: Path, found: Found, part: Part, language: str) -> Text | None:
    """Return the text that an earlier run extracted, if the file has not changed since."""
    try:
        shape = {"path": str, "lines": COUNT, "sha256": str}
        record = read_json(out.with_name(f"{out.name}.json"), shape)
        text = Text(Path(record["path"]), record["lines"], record["sha256"])
        same = all(record[name] == value for name, value in _origin(found, part, language).items())
    except (OSError, ValueError, KeyError):
        return None
    # Accept no other path than the two that this program writes.
    return text if same and text.path in (out, found.path) and text.path.exists() else None


def _origin(found: Found, part: Part, language: str) -> dict[str, object]:
    status = found.path.stat()
    return {
        "from": str(found.path.resolve()),
        "member": found.member,
        "size": status.st_size,
        "changed": status.st_mtime_ns,
        "format": _format(part, found),
        "column": part.sides[language].column,
    }
