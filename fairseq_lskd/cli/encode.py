"""Check a bitext, train one SentencePiece vocabulary on both of its languages, and write it in pieces.

RAW has {train,valid,test}.LANG of both languages, one sentence a line, UTF-8, plain or gzipped (.gz).
OUT gets them in pieces, spm.model, spm.vocab, encode.json, and dict.LANG.txt of both languages: the same
symbols in the same order, so that fairseq can share embeddings, each with its count in that language's train.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

EXAMPLES = """examples:
  lskd data prepare multi30k --out data/multi30k
  lskd encode --raw data/multi30k/raw --out data/multi30k/pieces -s de -t en --vocab-size 4000
  lskd encode --raw data/other/raw --out data/other/pieces -s de -t en --spm-model data/multi30k/pieces/spm.model
then:
  cd data/multi30k && fairseq-preprocess --source-lang de --target-lang en --destdir bin \\
    --trainpref pieces/train --validpref pieces/valid --testpref pieces/test \\
    --srcdict pieces/dict.de.txt --tgtdict pieces/dict.en.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `lskd encode`."""
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of the bitext")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("-s", "--source-lang", required=True, metavar="LANG", help="for example de")
    parser.add_argument("-t", "--target-lang", required=True, metavar="LANG", help="for example en")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="default: %(default)s")
    model = parser.add_argument_group("the vocabulary")
    model.add_argument("--vocab-size", type=int, metavar="N", help="default: 4000")
    model.add_argument("--model-type", choices=("unigram", "bpe"), help="default: unigram")
    model.add_argument(
        "--character-coverage",
        type=float,
        metavar="P",
        help="share of the text's characters that get a piece; the rest become <unk> (default: 1.0)",
    )
    model.add_argument("--sample", type=int, metavar="N", help="train it on N pairs (default: on all)")
    model.add_argument("--seed", type=int, metavar="S", help="of the sample (default: 1)")
    model.add_argument("--spm-model", type=Path, metavar="FILE", help="use this one; train none")


def run(args: argparse.Namespace) -> int:
    """Write the folder, or say that it is there."""
    from ..data.vocabulary import MANIFEST, VocabularyOptions, encode_bitext
    from ..errors import UserError

    names = ("vocab_size", "model_type", "character_coverage", "sample", "seed")
    chosen = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.spm_model and chosen:
        flags = ", ".join("--" + name.replace("_", "-") for name in chosen)
        raise UserError(f"--spm-model gives a trained vocabulary, {flags} would train one; leave out either")
    if "seed" in chosen and "sample" not in chosen:
        raise UserError("--seed chooses the sample, but there is no --sample; add it, or leave out --seed")
    new = encode_bitext(
        args.raw,
        args.out,
        args.source_lang,
        args.target_lang,
        None if args.spm_model else VocabularyOptions(**chosen),
        args.spm_model,
        args.threads,
    )
    print(f"{args.out}: {'written' if new else 'up to date'}")
    record = json.loads((args.out / MANIFEST).read_text(encoding="utf-8"))
    print(f"dictionaries of {record['dictionary_size']:,} symbols")
    print(f"{'file':<12} {'lines':>10} {'pieces':>12} {'a line':>7} {'unknown':>8}")
    for name, facts in record["counts"].items():
        mean = facts["pieces"] / facts["lines"]
        print(f"{name:<12} {facts['lines']:>10,} {facts['pieces']:>12,} {mean:>7.1f} {facts['unknown']:>8,}")
    return 0
