"""One SentencePiece vocabulary for both languages, the bitext in pieces, and fairseq's dictionaries."""

from __future__ import annotations

import io
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sentencepiece
from tqdm import tqdm

from ..errors import UserError
from ..files import sha256
from .bitext import Bitext, Side, check_bitext, read_lines, some_lines
from .outputs import Manifest
from .sentencepiece_model import load_model

MANIFEST = "encode.json"
MODEL, VOCABULARY = "spm.model", "spm.vocab"
#: fairseq's dictionary puts these before the symbols of its file.
FAIRSEQ_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
BLOCK = 20_000  # lines encoded at a time
# The trainer's sums, and so its vocabulary, depend on the number of threads: the same one everywhere.
TRAINING_THREADS = 8


@dataclass(frozen=True)
class VocabularyOptions:
    """How to train the vocabulary; `sample` is the number of training pairs to train it on (None: all)."""

    vocab_size: int = 4000
    model_type: str = "unigram"
    character_coverage: float = 1.0
    sample: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.vocab_size < 1:
            raise UserError(f"--vocab-size {self.vocab_size}: expected at least 1")
        if self.model_type not in ("unigram", "bpe"):
            raise UserError(f"--model-type {self.model_type}: expected unigram or bpe")
        if not 0 < self.character_coverage <= 1:
            raise UserError(f"--character-coverage {self.character_coverage}: expected above 0, at most 1")
        if self.sample is not None and self.sample < 1:
            raise UserError(f"--sample {self.sample}: expected at least 1")


def encode_bitext(
    raw: Path,
    out: Path,
    source_lang: str,
    target_lang: str,
    options: VocabularyOptions | None = None,
    spm_model: Path | None = None,
    threads: int = 1,
) -> bool:
    """Check the bitext in `raw`, train a vocabulary on it (or take `spm_model`), and write `out`.

    `out` gets every split in pieces, `spm.model`, `spm.vocab`, `dict.LANG.txt` of both languages and
    `encode.json`. Returns False if `out` was up to date. Raises `UserError` if `out` is something else,
    and for everything that is wrong with the bitext, the model or the size of the vocabulary.
    """
    if source_lang == target_lang:
        raise UserError(f"--source-lang and --target-lang are both {source_lang}: expected two languages")
    if options is not None and spm_model is not None:
        raise ValueError("a vocabulary is trained or given, not both")
    if threads < 1:
        raise UserError(f"--threads {threads}: expected at least 1")
    options = options or VocabularyOptions()
    given = None if spm_model is None else load_model(spm_model)
    languages = (source_lang, target_lang)
    bitext = check_bitext(raw, languages)
    inputs = {name: side.sha256 for name, side in _files(bitext).items()}
    shown: dict[str, Any] = {"source-lang": source_lang, "target-lang": target_lang}
    if spm_model is None:
        shown |= {name.replace("_", "-"): value for name, value in asdict(options).items()}
        if options.sample is None:
            del shown["seed"]  # it chooses the sample, and nothing else
    else:
        inputs["--spm-model"] = sha256(spm_model)
    manifest = Manifest(MANIFEST, shown, inputs, libraries=("sentencepiece",))
    if manifest.is_up_to_date(out):
        return False
    with manifest.written(out) as (folder, facts):
        if given is None:
            proto = train_model(_training_lines(bitext, options), options)
            model = sentencepiece.SentencePieceProcessor(model_proto=proto)
        else:
            model, proto = given, given.serialized_model_proto()
        pieces = dictionary_pieces(model)
        (folder / MODEL).write_bytes(proto)
        write_vocabulary(folder / VOCABULARY, model)
        facts["dictionary_size"] = len(pieces)
        counts = _encode_splits(model, bitext, folder, threads)
        known = frozenset(pieces)
        facts["counts"] = {
            name: {
                "lines": side.lines,
                "pieces": counts[name].total(),
                "unknown": sum(count for piece, count in counts[name].items() if piece not in known),
            }
            for name, side in _files(bitext).items()
        }
        for lang in languages:
            write_dictionary(folder / f"dict.{lang}.txt", pieces, counts[f"train.{lang}"])
    return True


def train_model(lines: Iterable[str], options: VocabularyOptions) -> bytes:
    """A SentencePiece model trained on the lines, serialised.

    Raises `UserError`, naming the nearest size that works, if the corpus cannot have `vocab_size` pieces.
    """
    proto = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=map(clean, lines),
            model_writer=proto,
            vocab_size=options.vocab_size,
            model_type=options.model_type,
            character_coverage=options.character_coverage,
            num_threads=TRAINING_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        message = str(error)
        flag = f"--vocab-size {options.vocab_size}"
        if most := re.search(r"too high.*<= (\d+)", message):
            raise UserError(
                f"{flag} is too large for this corpus: it has at most {most[1]} pieces; "
                f"give --vocab-size {most[1]} or less"
            ) from error
        if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
            raise UserError(
                f"{flag} is too small: the corpus's characters alone need {least[1]}; "
                f"give --vocab-size {least[1]} or more, or lower --character-coverage"
            ) from error
        raise UserError(f"SentencePiece cannot train a model: {message}") from error
    return proto.getvalue()


def dictionary_pieces(model: sentencepiece.SentencePieceProcessor) -> list[str]:
    """The symbols of fairseq's dictionary: the model's pieces in the order of their ids.

    Without `<unk>`, `<s>`, `</s>` and other control symbols, which text never has and fairseq adds itself.
    Raises `UserError` for a piece that fairseq would take for one of its own symbols, or would split.
    """
    ids = [i for i in range(len(model)) if not (model.is_control(i) or model.is_unknown(i))]
    pieces = [model.id_to_piece(i) for i in ids]
    clashing = [piece for piece in pieces if piece in FAIRSEQ_SPECIALS or piece.split() != [piece]]
    if clashing:
        raise UserError(
            f"the SentencePiece model has pieces that fairseq cannot have: {', '.join(map(repr, clashing))}; "
            "train one without them"
        )
    return pieces


def write_dictionary(path: Path, pieces: Iterable[str], counts: Mapping[str, int]) -> None:
    """Write fairseq's `dict.LANG.txt`: a piece and its count a line."""
    lines = (f"{piece} {counts.get(piece, 0)}\n" for piece in pieces)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def write_vocabulary(path: Path, model: sentencepiece.SentencePieceProcessor) -> None:
    """Write SentencePiece's `.vocab`: a piece and its log probability (or merge rank) a line, tab between."""
    lines = (f"{model.id_to_piece(i)}\t{model.get_score(i):g}\n" for i in range(len(model)))
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def clean(line: str) -> str:
    """The line with every run of white space as one space.

    SentencePiece lets some of Unicode's separators (U+0085 for one) into its pieces; fairseq splits there.
    """
    return " ".join(line.split())


def _training_lines(bitext: Bitext, options: VocabularyOptions) -> Iterator[str]:
    """Both sides of train, or of a sample of its pairs."""
    sides = bitext["train"].values()
    lines = next(iter(sides)).lines
    chosen = None
    if options.sample is not None and options.sample < lines:
        chosen = set(random.Random(options.seed).sample(range(lines), options.sample))
    for side in sides:
        for number, line in enumerate(read_lines(side.path)):
            if chosen is None or number in chosen:
                yield line


def _files(bitext: Bitext) -> dict[str, Side]:
    return {f"{split}.{lang}": side for split, sides in bitext.items() for lang, side in sides.items()}


def _encode_splits(
    model: sentencepiece.SentencePieceProcessor, bitext: Bitext, folder: Path, threads: int
) -> dict[str, Counter[str]]:
    """Write every split in pieces; each file's count of every piece. `UserError` for lines without pieces."""
    files = _files(bitext)
    counts: dict[str, Counter[str]] = {name: Counter() for name in files}
    empty: list[str] = []
    total = sum(side.lines for side in files.values())
    with tqdm(total=total, unit=" lines", unit_scale=True, delay=2, disable=None) as progress:
        for name, side in files.items():
            without: list[int] = []
            with (folder / name).open("w", encoding="utf-8", newline="\n") as stream:
                for first, block in _blocks(read_lines(side.path)):
                    encoded = model.encode(block, out_type=str, num_threads=threads)
                    stream.writelines(" ".join(pieces) + "\n" for pieces in encoded)
                    counts[name].update(itertools.chain.from_iterable(encoded))
                    without += [number for number, pieces in enumerate(encoded, first) if not pieces]
                    progress.update(len(block))
            if without:
                empty.append(f"{side.path}: {some_lines(without)}")
    if empty:
        raise UserError(
            "lines of invisible characters alone, which have no pieces; remove them from BOTH sides:\n  "
            + "\n  ".join(empty)
        )
    return counts


def _blocks(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Cleaned lines, `BLOCK` at a time, with the number of the first."""
    first = 1
    while block := [clean(line) for line in itertools.islice(lines, BLOCK)]:
        yield first, block
        first += len(block)
