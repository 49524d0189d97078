"""Translate raw text, one sentence per line, with a folder of `lskd export`. This file needs no other file.

pip install ctranslate2 sentencepiece
python translate_raw.py DIR < text.de > text.en
echo "Ein Satz." | python translate_raw.py DIR
echo "Ein Satz." | python translate_raw.py DIR de-en      # a folder with several language pairs
"""

import json
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


def load(side):
    for path in (folder / f"sentencepiece.{side}.model", folder / "sentencepiece.model"):
        if path.exists():
            return sentencepiece.SentencePieceProcessor(model_file=str(path))
    sys.exit(f"{folder}: found no sentencepiece.model; expected a folder that `lskd export` wrote")


source, target = load("source"), load("target")
record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
pairs = record.get("pairs", {"": {}})
pair = sys.argv[2] if len(sys.argv) == 3 else "".join(pairs) if len(pairs) == 1 else None
if pair not in pairs:
    sys.exit(f"{folder} translates {', '.join(pairs)}: python translate_raw.py {folder} PAIR")
before, after, first = (pairs[pair].get(n, "").split() for n in ("source_prefix", "source_suffix", "target_prefix"))
longest = record["max_positions"]
translator = ctranslate2.Translator(str(folder))
lines = ([*before, *source.encode(line.strip(), out_type=str)[: longest[0] - 1], *after] for line in sys.stdin)
sources, again = tee(lines)
limits = {"max_input_length": 0, "max_decoding_length": min(200, longest[1] - 1)}
for result in translator.translate_iterable(sources, (first for _ in again), beam_size=5, **limits):
    print(target.decode(result.hypotheses[0][len(first) :]))
