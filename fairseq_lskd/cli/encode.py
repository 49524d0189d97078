"""Check a bitext, train a vocabulary on it, and write it in pieces with fairseq's dictionaries.

RAW has {train,valid,test}.LANG of both languages, one sentence a line, UTF-8, plain or gzipped (.gz).
OUT gets them in pieces, the model, encode.json, and dict.LANG.txt of both languages. The vocabulary is
SentencePiece's, one for both languages, unless --separate asks for two: dictionaries have its pieces in the order of
their ids, each with its count in that language's train, so that fairseq can share embeddings.

--recipe moses-bpe is for results that are to be compared with older papers: Moses' punctuation normalisation and
tokenisation, joint BPE codes, and dictionaries by frequency, as fairseq-preprocess makes them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path

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
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd encode`."""
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of the bitext")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("-s", "--source-lang", required=True, metavar="LANG", help="for example de")
    parser.add_argument(
        "-t", "--target-lang", metavar="LANG", help="for example en; none: DIR has train.SRC alone, with --spm-model"
    )
    parser.add_argument(
        "--workers",
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes; the result is the same (default: %(default)s)",
    )
    parser.add_argument("--recipe", choices=RECIPES, default=RECIPES[0], help="(default: %(default)s)")
    model = parser.add_argument_group("the vocabulary")
    model.add_argument(
        "--vocab-size", type=int, metavar="N", help="pieces, or with moses-bpe the number of merges (default: 4000)"
    )
    model.add_argument("--model-type", choices=("unigram", "bpe"), help="SentencePiece's (default: unigram)")
    model.add_argument(
        "--separate",
        action="store_true",
        default=None,
        help="a vocabulary of --vocab-size for each language; with moses-bpe, a dictionary for each",
    )
    model.add_argument(
        "--character-coverage",
        type=float,
        metavar="P",
        help="share of the text's characters that get a piece; the rest become <unk> (default: 0.9995 with a "
        "language that is zh, ja or ko, else 1.0)",
    )
    model.add_argument(
        "--byte-fallback",
        action="store_true",
        default=None,
        help="characters without a piece become their bytes, not <unk>",
    )
    model.add_argument(
        "--split-hyphens", action="store_true", help="moses-bpe: split at hyphens, aggressively as Moses calls it"
    )
    model.add_argument("--sample", type=_sample, metavar="N", help="train it on N pairs, or all (default: 200000)")
    model.add_argument("--seed", type=int, metavar="S", help="of the sample (default: 1)")
    model.add_argument(
        "--spm-model",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="use this one, or these two: the source's and the target's; train none",
    )


def run(args: argparse.Namespace) -> int:
    """Write the folder, or say that it is there."""
    from ..data.encoding import encode_bitext, encode_classically, encode_source
    from ..data.vocabulary import MANIFEST, VocabularyOptions
    from ..reading import COUNT, read_json

    chosen = _check(args)
    where = (args.raw, args.out, args.source_lang, args.target_lang)
    if args.target_lang is None:
        new = encode_source(args.raw, args.out, args.source_lang, args.spm_model[0], args.workers)
    elif args.recipe == "moses-bpe":
        new = encode_classically(*where, VocabularyOptions(**chosen), args.split_hyphens, args.workers)
    else:
        options = None if args.spm_model else VocabularyOptions(**chosen)
        new = encode_bitext(*where, options, args.spm_model, args.workers)
    print(f"{args.out}: {'written' if new else 'up to date'}")
    counted = {"lines": COUNT, "pieces": COUNT, "unknown": COUNT}
    shape = {"dictionary_size": (COUNT, dict), "counts": {str: counted}}
    record = read_json(args.out / MANIFEST, shape, "what `lskd encode` wrote")
    sizes = record["dictionary_size"]
    sizes = sizes if isinstance(sizes, dict) else {"": sizes}
    for language, size in sizes.items():
        print(f"dictionar{f'y of {language}' if language else 'ies'}: {size:,} symbols")
    print(f"{'file':<12} {'lines':>10} {'pieces':>12} {'a line':>7} {'unknown':>8}")
    for name, facts in record["counts"].items():
        mean = facts["pieces"] / max(facts["lines"], 1)
        print(f"{name:<12} {facts['lines']:>10,} {facts['pieces']:>12,} {mean:>7.1f} {facts['unknown']:>8,}")
    _warn_of_tokens(args.raw, *filter(None, (args.source_lang, args.target_lang)))
    return 0


def _warn_of_tokens(raw: Path, *languages: str) -> None:
    """Of text that is none, which `lskd score` will refuse: when all is trained is late to hear of it."""
    from ..data.bitext import SPLITS, find_side
    from ..data.tokenised import LOOKED_AT, looks_tokenised
    from ..errors import UserError
    from ..lines import read_lines

    if (raw / "truth.json").is_file():  # a generated bitext, which is scored as it is
        return
    for split, language in itertools.product(SPLITS, languages):
        try:
            path = find_side(raw, f"{split}.{language}")
            lines = list(itertools.islice(read_lines(path), LOOKED_AT))
        except UserError:  # there need not be a test set
            continue
        if traces := looks_tokenised(lines, language):
            refused = (
                ". `lskd score` refuses such references unless told --allow-tokenised: BLEU of tokens is no measure"
            )
            print(
                f"warning: {path} is not text but tokens: {'; '.join(traces)}. A model of it reads and writes tokens"
                + (refused if split == "test" and language == languages[-1] else ""),
                file=sys.stderr,
            )


def _check(args: argparse.Namespace) -> dict:
    """The options of the vocabulary that were given."""
    from ..errors import UserError

    names = ("vocab_size", "model_type", "separate", "character_coverage", "byte_fallback", "sample", "seed")
    chosen = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    flags = ["--" + name.replace("_", "-") for name in chosen]
    if args.spm_model:
        if flags:
            raise UserError(
                f"--spm-model gives a trained vocabulary, {', '.join(flags)} would train one; leave out either"
            )
        if len(args.spm_model) > 2:
            raise UserError(f"--spm-model: {len(args.spm_model)} files; expected one, or the source's and the target's")
    if args.target_lang is None and (args.recipe != RECIPES[0] or len(args.spm_model or ()) != 1):
        raise UserError(
            "-t is missing. Text in the source language alone is encoded by the model of the teacher's data: give one "
            "--spm-model (DATA/pieces/spm.model, or spm.SRC.model)"
        )
    if args.recipe == "moses-bpe":
        wrong = [flag for flag in flags if flag in ("--model-type", "--character-coverage", "--byte-fallback")]
        wrong += ["--spm-model"] if args.spm_model else []
        if wrong:
            raise UserError(f"{', '.join(wrong)}: SentencePiece's, which --recipe moses-bpe does without")
    elif args.split_hyphens:
        raise UserError("--split-hyphens is Moses': add --recipe moses-bpe, or leave it out")
    if "seed" in chosen and "sample" not in chosen:
        raise UserError("--seed chooses the sample, but there is no --sample; add it, or leave out --seed")
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
