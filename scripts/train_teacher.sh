#!/usr/bin/env bash
# Train a teacher with label smoothing, or a student of the same recipe without a teacher, and average the last checkpoints.
#
#   scripts/train_teacher.sh --data data/multi30k --recipe multi30k --label-smoothing 0.1 --out runs/mine/teacher-0.1
#   scripts/train_teacher.sh --data data/multi30k --recipe multi30k --size student --out runs/mine/student
#   ... --recipe wmt14-en-de-base                         sizes and training options: a name in scripts/recipes, or a file
#                                                         (default: multi30k)
#   ... --size teacher_large                              a size of the recipe (default: teacher)
#   ... --direction en-de                                 train the other direction of --data de-en, for a backward model
#   ... --seed 2                                          random seed (default: 1)
#   ... --validation-metric loss                          metric for the best checkpoint and for early stopping, loss or
#                                                         bleu (default: the recipe's)
#   ... --gpus 8                                          number of GPUs, for torchrun; tokens per update stay the same
#   ... --nodes 4 --gpus 8                                number of machines, in a SLURM job: see scripts/slurm.sbatch
#   ... -- --max-update 5000                              options after -- are passed to fairseq-train
#   ... -- --user-dir mine --arch of_mine                 your own modules: see docs/own-modules.md
#
# To train longer, give a larger --max-update after --. A recipe with a cosine schedule, whose learning rate depends on the
# end, needs a new --out for it; others continue in the same folder.
#
# The model is OUT/checkpoint_average.pt. --label-smoothing is 0.1 for a teacher and 0 for a student by default.

. "$(dirname "$0")/lib.sh"
data='' out='' recipe=multi30k smoothing='' size=teacher seed=1 gpus=1 nodes=1 metric='' direction=''
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=${2%/}; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --label-smoothing) smoothing=$2; shift 2 ;;
        --size) size=$2; shift 2 ;;
        --direction) direction=$2; shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --validation-metric) metric=$2; shift 2 ;;
        --gpus) gpus=$2; shift 2 ;;
        --nodes) nodes=$2; shift 2 ;;
        --) shift; break ;;
        *) unknown_option "$1" "(see --help; options for fairseq-train go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
load_recipe "$recipe"
languages "$data"
direction "$direction"
size "$size"
validation "$metric" "$@"
launcher "$@"
[ "$role" != teacher ] || smoothing=${smoothing:-0.1}

lskd run --out "$out" --label role="$role" --label recipe="$recipe" --label size="$size" \
    --input "$data/pieces/encode.json" -- \
    "${train[@]}" "$data/bin" -s "$src" -t "$tgt" --user-dir "$user_dir" \
    --criterion label_smoothed_teacher --label-smoothing "${smoothing:-0.0}" \
    "${model[@]}" "${training[@]}" "${valid[@]}" "${parallel[@]}" --max-update "$updates" --seed "$seed" \
    --save-dir "$out" --log-format json --log-interval 20 "$@"
keep_dictionaries
lskd average "$out" --last "$average" --or-fewer
