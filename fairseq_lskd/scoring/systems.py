"""Read translations of a test set by several systems, in several formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.bitext import find_side
from ..errors import UserError
from ..lines import read_lines
from ..reading import read_json
from ..sequences import harvest
from ..sequences.formats import format_of
from ..sequences.nbest import read_nbest
from ..sequences.pieces import to_text


@dataclass
class Output:
    """A file of translations, of a system and one of its seeds (numbered from 1)."""

    name: str
    path: Path
    seed: int = 1

    @property
    def label(self) -> str:
        return f"{self.name} ({self.path})" if self.name != str(self.path) else self.name


def parse(words: Sequence[str]) -> list[Output]:
    """Parse arguments of the form FILE or NAME=FILE. Several files with one name are seeds of one system.

    Raises:
        UserError: if a file is given twice, or a name is empty.
    """
    outputs: list[Output] = []
    seeds: Counter[str] = Counter()
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or Path(word).exists():
            name = path = word
        if not name or not path:
            raise UserError(f"{word}: expected FILE or NAME=FILE")
        seeds[name] += 1
        outputs.append(Output(name, Path(path), seeds[name]))
    twice = [str(path) for path, count in Counter(output.path for output in outputs).items() if count > 1]
    if twice:
        raise UserError(f"{', '.join(twice)}: given twice")
    return outputs


def read_translations(path: Path, sentences: int, kind: str = "auto", remove_bpe: str | None = None) -> list[str]:
    """Read the best translation of every sentence as text; "" if there is none.

    Args:
        sentences: number of sentences in the test set.
        kind: text (one sentence per line), fairseq (output of fairseq-generate), json (n-best lists of
            `lskd translate`) or auto.
        remove_bpe: join pieces of this scheme: sentencepiece or subword_nmt.

    Raises:
        UserError: if the file has another format or another number of sentences.
    """
    kind = format_of(path) if kind == "auto" else kind
    if kind == "fairseq":
        # D- lines are H- lines, detokenised if fairseq-generate was given a tokeniser.
        found = harvest(path, sentences, mark="D")
        lines = [hypotheses[0].text.strip() if hypotheses else "" for hypotheses in found]
    elif kind == "json":
        records = list(read_nbest(path))
        if records and records[0]["id"] != 0:
            raise UserError(
                f"{path} begins with sentence {records[0]['id']}, expected sentence 0: join the shards before scoring"
            )
        lines = [record["hypotheses"][0]["text"] if record["hypotheses"] else "" for record in records]
    else:
        lines = list(read_lines(path))
    if len(lines) != sentences:
        raise UserError(
            f"{path}: found {len(lines):,} hypotheses for {sentences:,} references; expected one hypothesis per "
            "reference"
        )
    return [to_text(line, remove_bpe) for line in lines] if remove_bpe else lines


def read_training(paths: Sequence[Path], pair: tuple[str, str] | None = None) -> list[str]:
    """Read the target side of the training data from text files, or from folders of scripts/prepare.sh.

    Raises:
        UserError: if a file cannot be read, or a folder is not from scripts/prepare.sh.
    """
    lines: list[str] = []
    for path in paths:
        if path.is_dir():
            manifest = path / "pieces" / "encode.json"
            try:
                shape = {"options": {"target-lang": str}}
                target = pair[1] if pair else read_json(manifest, shape)["options"]["target-lang"]
            except UserError:
                raise UserError(
                    f"--train {path}: found no pieces/encode.json; expected a text file or a folder of "
                    "scripts/prepare.sh"
                ) from None
            path = find_side(path / "raw", f"train.{target}")
        lines += read_lines(path)
    return lines
