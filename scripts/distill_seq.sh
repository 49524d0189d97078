#!/usr/bin/env bash
# Distil a student at sequence level: the teacher translates the training side, the student learns from that.
#
#   scripts/distill_seq.sh --data data/multi30k --teacher runs/mine/teacher-0.1/checkpoint_average.pt --out runs/mine/seq-0.1
#   ... --reference-weight 0.3                            add the references, with this share of the loss
#   ... --teacher-smoothing 0.1                           only a label for the table of results
#   ... -- --max-update 5000                              what follows -- goes to fairseq-train
#
# The model is OUT/checkpoint_average.pt; the teacher's translations and their binarised form are in OUT-data.

. "$(dirname "$0")/lib.sh"
data='' out='' teacher='' recipe=multi30k share='' seed=1 labels=()
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=${2%/}; shift 2 ;;
        --teacher) teacher=$2; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --reference-weight) share=$2; shift 2 ;;
        --teacher-smoothing) labels=(--label "teacher_smoothing=$2"); shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --) shift; break ;;
        *) die "unknown option $1 (see --help; options for fairseq-train go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
need "$teacher" --teacher
load_recipe "$recipe"
languages "$data"
IFS=: read -ra teachers <<<"$teacher"
pieces=$data/pieces made=$out-data
references=() mixture=()
if [ -n "$share" ]; then
    references=(--references "$pieces/train.$tgt")
    mixture=(--reference-weight "$share")
fi

lskd run --out "$made/translate" --title "$(basename "$out") translations" "${teachers[@]/#/--input=}" \
    --input "$data/pieces/encode.json" -- \
    fairseq-generate "$data/bin" -s "$src" -t "$tgt" --gen-subset train --path "$teacher" \
    "${decoding[@]}" --max-len-a 1.2 --max-len-b 10
lskd harvest "$made/translate/log.txt" --source "$pieces/train.$src" --fallback "$pieces/train.$tgt" \
    --out "$made/translations.$tgt"
lskd mix -s "$src" -t "$tgt" --source "$pieces/train.$src" --translations "$made/translations.$tgt" \
    "${references[@]}" --out "$made/pieces"
lskd run --out "$made/bin" --title "$(basename "$out") binarised" \
    --input "$made/pieces/train.$src" --input "$made/pieces/train.$tgt" -- \
    fairseq-preprocess -s "$src" -t "$tgt" --srcdict "$pieces/dict.$src.txt" --tgtdict "$pieces/dict.$tgt.txt" \
    --trainpref "$made/pieces/train" --validpref "$pieces/valid" --testpref "$pieces/test" \
    --destdir "$made/bin" --workers 2
lskd run --out "$out" --label role=student --label method=sequence "${labels[@]}" \
    --input "$made/pieces/train.weights.npz" --input "$made/pieces/train.$tgt" --input "$data/pieces/encode.json" -- \
    fairseq-train "$made/bin" -s "$src" -t "$tgt" --user-dir "$user_dir" \
    --criterion seq_kd --sequence-weights "$made/pieces/train.weights.npz" "${mixture[@]}" \
    "${student_model[@]}" "${training[@]}" --max-update "$student_updates" --seed "$seed" \
    --save-dir "$out" --log-format json --log-interval 20 "$@"
lskd average "$out" --last 3
