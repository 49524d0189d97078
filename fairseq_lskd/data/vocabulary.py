"""SentencePiece models: options, training, and the symbols that they give fairseq's dictionary."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..names import PLAIN
from ..reading import read_json, read_value, shown
from .dictionary import FAIRSEQ_SPECIALS

if TYPE_CHECKING:  # imported only where it is needed, because many modules only import a constant from here
    import sentencepiece

MANIFEST = "encode.json"
MODEL, VOCABULARY = "spm.model", "spm.vocab"
#: Default number of pairs to train a vocabulary on. More add little, and unigram models need about 6 kB per pair.
SAMPLE = 200_000
LINE = 1000  # maximum characters per line for the trainer, which skips lines of more than 4,192 bytes
# Fixed, because the trainer's sums, and so its vocabulary, depend on the number of threads.
TRAINING_THREADS = 8


def read_encoded(pieces: Path, **more: Any) -> dict[str, Any]:
    """Read the manifest in a folder that `lskd encode` wrote.

    Args:
        more: the shapes of the entries that are needed beside the languages.

    Raises:
        UserError: if it cannot be read or has another shape, or if the text is of one language only.
    """
    options = read_value(pieces / MANIFEST, "options")
    if isinstance(options, dict) and "source-lang" in options and options.get("target-lang") is None:
        raise UserError(
            f"{pieces} has text in one language only ({shown(options['source-lang'])}), expected a bitext. Translate "
            "this text with a teacher (lskd translate), and build training data from the translations (lskd select)"
        )
    shape = {"options": {"source-lang": PLAIN, "target-lang": PLAIN}, **more}
    found: dict[str, Any] = read_json(pieces / MANIFEST, shape, "what `lskd encode` wrote", "Encode it again")
    return found


@dataclass(frozen=True)
class VocabularyOptions:
    """How to train the vocabulary. `sample` is the number of pairs to train it on (None: all)."""

    vocab_size: int = 4000
    model_type: str = "unigram"
    character_coverage: float | None = None  #: None: chosen by the languages
    byte_fallback: bool = False  #: characters without a piece become bytes instead of <unk>
    separate: bool = False  #: one vocabulary for each language
    sample: int | None = SAMPLE
    seed: int = 1
    symbols: tuple[str, ...] = ()  #: more pieces, such as a tag that `lskd select --tag` writes

    def __post_init__(self) -> None:
        if self.vocab_size < 1:
            raise UserError(f"--vocab-size {self.vocab_size}: expected at least 1")
        if self.model_type not in ("unigram", "bpe"):
            raise UserError(f"--model-type {self.model_type}: expected unigram or bpe")
        if self.character_coverage is not None and not 0 < self.character_coverage <= 1:
            raise UserError(f"--character-coverage {self.character_coverage}: expected above 0, at most 1")
        if self.sample is not None and self.sample < 1:
            raise UserError(f"--sample {self.sample}: expected at least 1, or all")
        wrong = [symbol for symbol in self.symbols if symbol.split() != [symbol] or symbol in FAIRSEQ_SPECIALS]
        if wrong:
            raise UserError(
                f"--symbols {' '.join(map(repr, wrong))}: expected no spaces, and none of fairseq's symbols"
            )


def train_model(words: Mapping[str, int], options: VocabularyOptions, character_coverage: float) -> bytes:
    """Train a SentencePiece model on words and their counts, and return it serialised.

    No piece spans two words, so counts of words give the same model as sentences, in a fraction of the time.
    Raise `UserError`, with the nearest size that works, if the corpus does not allow `vocab_size` pieces.
    """
    import sentencepiece

    proto = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_rows(words),
            input_format="tsv",
            model_writer=proto,
            vocab_size=options.vocab_size,
            model_type=options.model_type,
            character_coverage=character_coverage,
            byte_fallback=options.byte_fallback,
            user_defined_symbols=list(options.symbols),
            num_threads=TRAINING_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        message = str(error)
        flag = f"--vocab-size {options.vocab_size}"
        if most := re.search(r"too high.*<= (\d+)", message):
            raise UserError(
                f"{flag} is too large for this corpus, which allows at most {most[1]} pieces; "
                f"use --vocab-size {most[1]} or less (1000 suits a few thousand pairs)"
            ) from error
        if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
            raise UserError(
                f"{flag} is too small: the characters of this corpus alone need {least[1]}; "
                f"use --vocab-size {least[1]} or more, or a lower --character-coverage"
            ) from error
        raise UserError(f"SentencePiece cannot train a model: {message}") from error
    return proto.getvalue()


def _rows(words: Mapping[str, int]) -> Iterator[str]:
    """Yield words and counts in SentencePiece's format, in an order that only depends on them.

    One occurrence of each word shares a line with other words: a unigram model only considers a whole word as a piece
    if something other than the end of a line follows it.
    """
    rows = sorted(words.items(), key=lambda row: (-row[1], row[0]))
    yield from (f"{word}\t{count - 1}" for word, count in rows if count > 1)
    line = ""
    for word, _ in rows:
        if line and len(line) + len(word) > LINE:
            yield f"{line}\t1"
            line = ""
        line = f"{line} {word}" if line else word
    yield f"{line}\t1"


def dictionary_pieces(model: sentencepiece.SentencePieceProcessor) -> list[str]:
    """Return the symbols for fairseq's dictionary: the model's pieces in the order of their ids.

    `<unk>`, `<s>`, `</s>` and other control symbols are left out: text does not contain them, and fairseq adds its own.
    Raise `UserError` for a piece that fairseq would take for one of its own symbols, or would split.
    """
    ids = [i for i in range(len(model)) if not (model.is_control(i) or model.is_unknown(i))]
    pieces = [model.id_to_piece(i) for i in ids]
    clashing = [piece for piece in pieces if piece in FAIRSEQ_SPECIALS or piece.split() != [piece]]
    if clashing:
        raise UserError(
            f"the SentencePiece model has pieces that fairseq cannot use: {', '.join(map(repr, clashing))}; "
            "train a model without them"
        )
    return pieces


def write_vocabulary(path: Path, model: sentencepiece.SentencePieceProcessor) -> None:
    """Write SentencePiece's `.vocab`: one piece and its log-probability (or merge rank) per line, tab-separated."""
    lines = (f"{model.id_to_piece(i)}\t{model.get_score(i):g}\n" for i in range(len(model)))
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def model_name(language: str | None = None) -> str:
    """Return the file name of a language's model, or of the joint model for None."""
    return MODEL if language is None else f"spm.{language}.model"


def joined(languages: Iterable[str], separate: bool) -> list[tuple[str | None, tuple[str, ...]]]:
    """Return the vocabularies to create, each as its language (None if joint) and the languages that it covers."""
    languages = tuple(languages)
    return [(language, (language,)) for language in languages] if separate else [(None, languages)]
