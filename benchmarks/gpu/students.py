"""Measure training speed and peak memory of a student without a teacher, with one, and with its cache.

The measurements are those of student_throughput.py at production sizes, with the synchronisations of CPU and GPU.
"""

from __future__ import annotations

import sys

import student_throughput as throughput

from .stage import Run, stage

#: A student of the size of transformer_wmt_en_de, and a teacher of the size of its big variant.
SIZE = """--vocab 32000 --sentences 16000 --width 512 --ffn 2048 --heads 8 --encoder-layers 6 --decoder-layers 6
    --teacher-depth 1 --max-tokens 8192 --updates 8 --blocks 7 --device cuda --teachers none none_ours online cached"""
REHEARSAL = """--vocab 60 --sentences 60 --width 16 --ffn 16 --heads 2 --encoder-layers 1 --decoder-layers 1
    --teacher-depth 1 --max-tokens 200 --updates 1 --blocks 1 --top-k 4 --threads 1 --device cpu
    --teachers none cached"""

STORY = ("machine", "versions", "command")


def measure(run: Run) -> None:
    # fairseq supports half precision only on a GPU.
    precisions: list[list[str]] = [[]] if run.rehearse else [["--fp16"], ["--bf16"]]
    for precision in precisions:
        with run.part(precision=precision):
            for row in throughput.main([*(REHEARSAL if run.rehearse else SIZE).split(), *precision]):
                # Machine, versions and command are those of this stage.
                run.write(**{name: value for name, value in row.items() if name not in STORY})


if __name__ == "__main__":
    sys.exit(stage("students", measure))
