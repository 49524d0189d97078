#!/usr/bin/env bash
# Distil a student at word level: it matches the teacher's distribution at every target token.
#
#   scripts/distill_word.sh --data data/multi30k --teacher runs/mine/teacher-0.1/checkpoint_average.pt --out runs/mine/word-0.1
#   ... --teacher a.pt:b.pt                               an ensemble: averaged probabilities
#   ... --kd-weight 0.7 --kd-temperature 2
#   ... --teacher-smoothing 0.1                           only a label for the table of results
#   ... --gpus 8                                          by torchrun, with the same tokens in an update
#   ... --nodes 4 --gpus 8                                in a SLURM job: see scripts/slurm.sbatch
#   ... -- --max-update 5000                              what follows -- goes to fairseq-train
#
# The model is OUT/checkpoint_average.pt.

. "$(dirname "$0")/lib.sh"
data='' out='' teacher='' recipe=multi30k weight=0.5 temperature=1.0 seed=1 labels=() gpus=1 nodes=1
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=${2%/}; shift 2 ;;
        --teacher) teacher=$2; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --kd-weight) weight=$2; shift 2 ;;
        --kd-temperature) temperature=$2; shift 2 ;;
        --teacher-smoothing) labels=(--label "teacher_smoothing=$2"); shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --gpus) gpus=$2; shift 2 ;;
        --nodes) nodes=$2; shift 2 ;;
        --) shift; break ;;
        *) die "unknown option $1 (see --help; options for fairseq-train go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
need "$teacher" --teacher
load_recipe "$recipe"
languages "$data"
launcher "${student_batches:-$batches}" "$@"
IFS=: read -ra teachers <<<"$teacher"

lskd run --out "$out" --label role=student --label method=word --label temperature="$temperature" "${labels[@]}" \
    "${teachers[@]/#/--input=}" --input "$data/pieces/encode.json" -- \
    "${train[@]}" "$data/bin" -s "$src" -t "$tgt" --user-dir "$user_dir" \
    --criterion word_kd --teacher-path "$teacher" --kd-weight "$weight" --kd-temperature "$temperature" \
    "${student_model[@]}" "${training[@]}" "${parallel[@]}" --max-update "$student_updates" --seed "$seed" \
    --save-dir "$out" --log-format json --log-interval 20 "$@"
lskd average "$out" --last "$average"
