"""Train a subword vocabulary on a bitext, segment the bitext into pieces, and write fairseq dictionaries.

--raw contains {train,valid,test}.LANG of both languages, one sentence per line, in UTF-8, plain or gzipped (.gz).
--out gets the same files in pieces, the SentencePiece model, dict.LANG.txt of both languages, and the manifest
encode.json. By default both languages share one vocabulary. Their dictionaries list the pieces in the order of the
model, with their counts in the training text, so that fairseq can share embeddings.

Use --recipe moses-bpe to compare with older papers: Moses' punctuation normalisation and tokenisation, joint BPE codes,
and dictionaries by frequency, as fairseq-preprocess writes them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from ._options import add_allow_shifted, add_options, add_out, add_workers

EXAMPLES = """examples:
  lskd data prepare multi30k --out data/multi30k
  lskd encode --raw data/multi30k/raw --out data/multi30k/pieces -s de -t en --vocab-size 4000
  lskd encode --raw data/other/raw --out data/other/pieces -s de -t en --spm-model data/multi30k/pieces/spm.model
  lskd encode --raw data/zh-en/raw --out data/zh-en/pieces -s zh -t en --separate --vocab-size 32000 --byte-fallback
  lskd encode --raw data/mono/raw --out data/mono/pieces -s de --spm-model data/multi30k/pieces/spm.model
  lskd encode --raw data/iwslt14/raw --out data/iwslt14/pieces -s de -t en --recipe moses-bpe --vocab-size 10000
then:
  lskd binarise data/multi30k/pieces --out data/multi30k/bin
"""
RECIPES = ("sentencepiece", "moses-bpe")
#: The share of unknown pieces above which a vocabulary probably does not belong to the text.
UNKNOWN = 0.01
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd encode`."""
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of the bitext")
    add_out(parser)
    parser.add_argument("-s", "--source-lang", required=True, metavar="LANG", help="source language, for example de")
    parser.add_argument(
        "-t",
        "--target-lang",
        metavar="LANG",
        help="target language, for example en; leave it out to segment train.SRC alone, with --spm-model",
    )
    add_allow_shifted(parser)
    add_workers(parser, "--threads")
    parser.add_argument(
        "--recipe", choices=RECIPES, default=RECIPES[0], help="kind of segmentation (default: %(default)s)"
    )
    model = parser.add_argument_group("vocabulary")
    coverage = (
        "share of the text's characters that get a piece; the others become <unk> (default: 0.9995 if a language is "
        "zh, ja or ko, otherwise 1.0)"
    )
    add_options(
        model,
        ("--vocab-size", int, "N", "number of pieces; with moses-bpe, number of BPE merges (default: 4000)"),
        ("--character-coverage", float, "P", coverage),
        ("--sample", _sample, "N", "number of sentence pairs to train the vocabulary on, or all (default: 200000)"),
        ("--seed", int, "S", "random seed for --sample (default: 1)"),
    )
    model.add_argument(
        "--model-type", choices=("unigram", "bpe"), help="type of the SentencePiece model (default: unigram)"
    )
    model.add_argument(
        "--separate",
        action="store_true",
        default=None,
        help="train one vocabulary of --vocab-size per language; with moses-bpe, write one dictionary per language",
    )

    model.add_argument(
        "--byte-fallback",
        action="store_true",
        default=None,
        help="encode characters without a piece as bytes, instead of <unk>",
    )
    model.add_argument(
        "--symbols", nargs="+", metavar="TOKEN", help="add these pieces, such as a tag that `lskd select --tag` writes"
    )
    model.add_argument(
        "--split-hyphens",
        action="store_true",
        help="with moses-bpe, split words at hyphens (Moses' aggressive hyphen splitting)",
    )

    model.add_argument(
        "--spm-model",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="use a trained SentencePiece model, or two: the source's and the target's",
    )


def run(args: argparse.Namespace) -> int:
    """Write the output folder unless it is up to date, and print statistics."""
    from ..data.encoding import encode_bitext, encode_classically, encode_source
    from ..data.vocabulary import MANIFEST, VocabularyOptions
    from ..reading import COUNT, read_json

    chosen = _check(args)
    where = (args.raw, args.out, args.source_lang, args.target_lang)
    if args.target_lang is None:
        new = encode_source(args.raw, args.out, args.source_lang, args.spm_model[0], args.workers)
    elif args.recipe == "moses-bpe":
        new = encode_classically(
            *where, VocabularyOptions(**chosen), args.split_hyphens, args.workers, args.allow_shifted
        )
    else:
        options = None if args.spm_model else VocabularyOptions(**chosen)
        new = encode_bitext(*where, options, args.spm_model, args.workers, args.allow_shifted)
    print(f"{args.out}: {'written' if new else 'up to date'}")
    counted = {"lines": COUNT, "pieces": COUNT, "unknown": COUNT}
    shape = {"dictionary_size": (COUNT, dict), "counts": {str: counted}}
    record = read_json(args.out / MANIFEST, shape, "a manifest of `lskd encode`")
    sizes = record["dictionary_size"]
    sizes = sizes if isinstance(sizes, dict) else {"": sizes}
    for language, size in sizes.items():
        print(f"dictionar{f'y of {language}' if language else 'ies'}: {size:,} symbols")
    print(f"{'file':<12} {'lines':>10} {'pieces':>12} {'per line':>8} {'unknown':>8}")
    for name, facts in record["counts"].items():
        mean = facts["pieces"] / max(facts["lines"], 1)
        print(f"{name:<12} {facts['lines']:>10,} {facts['pieces']:>12,} {mean:>8.1f} {facts['unknown']:>8,}")
    for name, facts in record["counts"].items():
        if facts["unknown"] > UNKNOWN * facts["pieces"]:
            print(
                f"warning: {facts['unknown'] / facts['pieces']:.1%} of the pieces of {args.out / name} are not in the "
                f"dictionary, expected at most {UNKNOWN:.0%}: is the vocabulary that of another language or text?",
                file=sys.stderr,
            )
    _warn_if_tokenised(args.raw, *filter(None, (args.source_lang, args.target_lang)))
    if args.target_lang is not None:
        _warn_if_no_bitext(args.raw, (args.source_lang, args.target_lang), record["counts"])
        _warn_of_overlap(args.raw, args.target_lang)
    return 0


def _warn_of_overlap(raw: Path, language: str) -> None:
    """Warn of held-out references in the training text, which `lskd data prepare` drops and `lskd record` refuses."""
    from ..data.bitext import find_side, some_lines
    from ..errors import UserError
    from ..lines import read_lines
    from ..scoring.checks import MOST_OVERLAP, overlap

    if any((raw / record).exists() for record in ("prepare.json", "truth.json")):
        return
    try:
        training = find_side(raw, f"train.{language}")
        paths = [find_side(raw, f"{split}.{language}") for split in ("valid", "test")]
        sides = [list(read_lines(path)) for path in paths]
        found = overlap([*itertools.chain.from_iterable(sides)], read_lines(training))
    except UserError:  # not a bitext
        return
    before = 0
    for path, lines in zip(paths, sides, strict=True):
        known = [number - before for number in found if before < number <= before + len(lines)]
        before += len(lines)
        if len(known) > MOST_OVERLAP * len(lines):
            print(
                f"warning: {path.resolve()}: {some_lines(known)} of {len(lines):,} are in {training.name} too, so "
                "scores will be too high. Take them out of the training text: scripts/prepare.sh --corpus own does",
                file=sys.stderr,
            )


def _warn_if_no_bitext(raw: Path, languages: tuple[str, str], counts: dict[str, dict]) -> None:
    """Warn of swapped or equal sides, and of tables, which `lskd data prepare` refuses or drops.

    Args:
        counts: the facts of each file that was encoded, with its number of lines.
    """
    from ..data.bitext import SPLITS, find_side
    from ..data.language_id import GUESSED, guess, look_swapped
    from ..errors import UserError
    from ..extras import is_installed
    from ..lines import raw_lines

    guesses = is_installed("py3langid")
    for split in SPLITS:
        try:
            paths = [find_side(raw, f"{split}.{language}") for language in languages]
        except UserError:
            continue
        if not (facts := counts.get(f"{split}.{languages[0]}")):
            continue
        # From all parts of the text: files are often joined from several corpora, and begin with headings and names.
        step = max(1, facts["lines"] // GUESSED)
        sides = [
            [line.decode(errors="replace") for _, line in itertools.islice(raw_lines(path), 0, step * GUESSED, step)]
            for path in paths
        ]
        pairs = list(zip(*sides, strict=True))
        if len(pairs) < 2 * sum(source == target for source, target in pairs):
            print(f"warning: {split}: most lines are the same on both sides. Is it a bitext?", file=sys.stderr)
        elif any(len(side) < 2 * sum("\t" in line for line in side) for side in sides):
            print(f"warning: {split}: most lines have a tab. Is it a table of both sides?", file=sys.stderr)
        elif guesses and (swapped := look_swapped(guess(pairs, languages), languages)):
            print(
                f"warning: {split}: {swapped}. Rename the files in {raw.resolve()} so that their endings are their "
                "languages",
                file=sys.stderr,
            )


def _warn_if_tokenised(raw: Path, *languages: str) -> None:
    """Warn of tokenised text, before models are trained on it. `lskd score` refuses it as a reference."""
    from ..data.bitext import SPLITS, find_side
    from ..data.tokenised import LOOKED_AT, looks_tokenised
    from ..errors import UserError
    from ..lines import read_lines

    if (raw / "truth.json").is_file():  # generated bitexts are scored without detokenisation
        return
    for split, language in itertools.product(SPLITS, languages):
        try:
            path = find_side(raw, f"{split}.{language}")
            lines = list(itertools.islice(read_lines(path), LOOKED_AT))
        except UserError:  # a test set is optional
            continue
        if traces := looks_tokenised(lines, language):
            refused = (
                ". `lskd score` refuses tokenised references, as their BLEU is not comparable (--allow-tokenised "
                "allows them)"
            )
            print(
                f"warning: {path} is tokenised, expected raw text: {'; '.join(traces)}. Models trained on it read and "
                f"write tokens{refused if split == 'test' and language == languages[-1] else ''}",
                file=sys.stderr,
            )


def _check(args: argparse.Namespace) -> dict:
    """Check the options that go together, and return the vocabulary options that were given."""
    from ..errors import UserError

    names = ("vocab_size", "model_type", "separate", "character_coverage", "byte_fallback", "sample", "seed", "symbols")
    chosen = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    flags = ["--" + name.replace("_", "-") for name in chosen]
    if args.spm_model:
        if flags:
            raise UserError(
                f"--spm-model uses a trained vocabulary. Leave out {', '.join(flags)}, for training a new one, or "
                "--spm-model"
            )
        if len(args.spm_model) > 2:
            raise UserError(
                f"--spm-model: expected 1 file, or 2 (the source's and the target's), found {len(args.spm_model)}"
            )
    if args.target_lang is None and (args.recipe != RECIPES[0] or len(args.spm_model or ()) != 1):
        raise UserError(
            "-t is missing. To segment text in the source language alone, give the SentencePiece model of the "
            "teacher's data as --spm-model (DATA/pieces/spm.model or spm.SRC.model)"
        )
    if args.recipe == "moses-bpe":
        unused = ("--model-type", "--character-coverage", "--byte-fallback", "--symbols")
        wrong = [flag for flag in flags if flag in unused]
        wrong += ["--spm-model"] if args.spm_model else []
        if wrong:
            raise UserError(f"{', '.join(wrong)}: --recipe moses-bpe does not use SentencePiece; leave out one of them")
    elif args.split_hyphens:
        raise UserError("--split-hyphens works with --recipe moses-bpe only: add it, or leave out --split-hyphens")
    if "seed" in chosen and "sample" not in chosen:
        raise UserError("--seed works with --sample only: add it, or leave out --seed")
    if "symbols" in chosen:
        chosen["symbols"] = tuple(chosen["symbols"])
    if chosen.get("sample") == ALL:
        chosen["sample"] = None
    return chosen


def _sample(word: str) -> int | str:
    if word == ALL:
        return word
    try:
        return int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word}: expected a number of pairs, or {ALL}") from None
