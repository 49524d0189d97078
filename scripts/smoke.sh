#!/usr/bin/env bash
# Test an installed fairseq_lskd in about a minute: data, a teacher, a word-level student, decoding and scoring.
#
#   scripts/smoke.sh VENV        virtual environment with the installed package
#
# It runs in a temporary folder, so that it uses the installed package and not the checkout.
set -euo pipefail
case ${1:-} in
    '' | --help | -h) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; [ $# -gt 0 ]; exit ;;
esac
venv=$(cd "$1" && pwd)
export PATH=$venv/bin:$PATH OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

package=$("$venv/bin/python" -c 'import fairseq_lskd; print(*fairseq_lskd.__path__)')
case $package in
    "$venv"/*) ;;
    *) echo "smoke.sh: error: found $package, expected the package in $venv; install it there without -e" >&2; exit 1 ;;
esac
[ -f "$package/py.typed" ] || { echo "smoke.sh: error: py.typed is missing in $package" >&2; exit 1; }

lskd doctor
lskd data list >corpora.txt
grep -q wmt14-en-de corpora.txt
lskd generate --out data/raw --train 400 --valid 20 --test 20
lskd encode --raw data/raw --out data/pieces -s xx -t yy --vocab-size 600
lskd binarise data/pieces --out data/bin
training=(--arch transformer_iwslt_de_en --share-all-embeddings --encoder-layers 1 --decoder-layers 1
    --encoder-embed-dim 32 --decoder-embed-dim 32 --encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32
    --optimizer adam --lr 5e-3 --max-tokens 1000 --max-update 6 --no-epoch-checkpoints --num-workers 0 --cpu)
fairseq-train data/bin --user-dir "$package" --criterion label_smoothed_teacher --label-smoothing 0.1 "${training[@]}" \
    --save-dir teacher >teacher.txt 2>&1 || { tail -n 20 teacher.txt; exit 1; }
fairseq-train data/bin --user-dir "$package" --criterion word_kd --teacher-path teacher/checkpoint_best.pt \
    --kd-weight 0.5 "${training[@]}" --save-dir student >student.txt 2>&1 || { tail -n 20 student.txt; exit 1; }
# Decoding needs neither the plug-in nor the teacher.
rm -r teacher
fairseq-generate data/bin --path student/checkpoint_best.pt --beam 2 --max-len-b 20 --cpu \
    --remove-bpe sentencepiece >generated.txt 2>&1 ||
    { tail -n 20 generated.txt; exit 1; }
lskd harvest generated.txt --source data/raw/test.xx --out hypotheses.yy --pieces data/pieces
[ "$(wc -l <hypotheses.yy)" = 20 ]
# The generated language has spaces before punctuation. After six updates, there may be unknown words and empty sentences.
lskd score hypotheses.yy --references data/raw/test.yy --allow-tokenised --allow-empty --allow-unknown
echo "smoke: passed, $("$venv/bin/python" -c 'import fairseq_lskd, platform
print(f"fairseq_lskd {fairseq_lskd.__version__}, Python {platform.python_version()}")')"
