"""Translate raw text, one sentence per line, with a folder of `lskd export`. This file needs no other file.

pip install ctranslate2 sentencepiece
python translate_raw.py DIR < text.de > text.en
echo "Ein Satz." | python translate_raw.py DIR
echo "Ein Satz." | python translate_raw.py DIR de-en      # a folder with several language pairs
"""

import json
import os
import sys
from itertools import tee
from pathlib import Path

import ctranslate2
import sentencepiece

if not 2 <= len(sys.argv) <= 3 or sys.argv[1].startswith("-"):
    sys.exit(
        "usage: python translate_raw.py DIR [PAIR] < text.de > text.en, or: echo 'Ein Hund.' | python translate_raw.py "
        "DIR [PAIR]"
    )
folder = Path(sys.argv[1])


def find(*names):
    for name in names:
        if (folder / name).exists():
            return str(folder / name)
    sys.exit(f"{folder}: found no {names[-1]}; expected a folder that `lskd export` wrote")


def load(side):
    return sentencepiece.SentencePieceProcessor(model_file=find(f"sentencepiece.{side}.model", "sentencepiece.model"))


def pieces():
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield source.encode(line.decode("utf-8").strip(), out_type=str)
        except UnicodeDecodeError:
            sys.exit(f"line {number} of the input is not UTF-8; convert it, for example: iconv -f latin1 -t utf-8")


source, target = load("source"), load("target")
record = json.loads(Path(find("export.json")).read_text(encoding="utf-8"))
pairs = record.get("pairs", {"": {}})
pair = sys.argv[2] if len(sys.argv) == 3 else "".join(pairs) if len(pairs) == 1 else None
if pair not in pairs:
    known = ", ".join(filter(None, pairs))
    sys.exit(
        f"{folder} translates {known or 'one pair'}: python translate_raw.py {str(folder)!r} {known and 'PAIR '}< FILE"
    )
before, after, first = (pairs[pair].get(n, "").split() for n in ("source_prefix", "source_suffix", "target_prefix"))
unspoken = record.get("language_tokens", [])  # a weak model may generate them
longest = record["max_positions"]
translator = ctranslate2.Translator(str(folder))
sources, again = tee([*before, *line[: longest[0] - 1], *after] for line in pieces())
limits = {"max_input_length": 0, "max_decoding_length": min(200, longest[1] - 1)}
sys.stdout.reconfigure(encoding="utf-8", newline="\n")
try:
    for result in translator.translate_iterable(sources, (first for _ in again), beam_size=5, **limits):
        print(target.decode([w for w in result.hypotheses[0][len(first) :] if w not in unspoken]), flush=True)
except BrokenPipeError:  # as in `| head -1`
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
