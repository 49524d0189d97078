"""Translate raw text, one sentence per line, with a folder of `lskd export`. This file needs no other file.

pip install ctranslate2 sentencepiece
python translate_raw.py DIR < text.de > text.en
echo "Ein Satz." | python translate_raw.py DIR
"""

import json
import sys
from pathlib import Path

import ctranslate2
import sentencepiece

if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    sys.exit(
        "usage: python translate_raw.py DIR < text.de > text.en, or: echo 'Ein Hund.' | python translate_raw.py DIR"
    )
folder = Path(sys.argv[1])


def load(side):
    for path in (folder / f"sentencepiece.{side}.model", folder / "sentencepiece.model"):
        if path.exists():
            return sentencepiece.SentencePieceProcessor(model_file=str(path))
    sys.exit(f"{folder}: found no sentencepiece.model; expected a folder that `lskd export` wrote")


source, target = load("source"), load("target")
longest = json.loads((folder / "export.json").read_text(encoding="utf-8"))["max_positions"]
limits = {"max_input_length": longest[0], "max_decoding_length": min(200, longest[1] - 1)}
translator = ctranslate2.Translator(str(folder))
lines = (source.encode(line.strip(), out_type=str) for line in sys.stdin)
for result in translator.translate_iterable(lines, max_batch_size=32, beam_size=5, **limits):
    print(target.decode(result.hypotheses[0]))
