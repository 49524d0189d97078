#!/usr/bin/env bash
# Train a teacher with label smoothing, or a student of the same recipe without a teacher, and average its end.
#
#   scripts/train_teacher.sh --data data/multi30k --recipe multi30k --label-smoothing 0.1 --out runs/mine/teacher-0.1
#   scripts/train_teacher.sh --data data/multi30k --recipe multi30k --size student --out runs/mine/student
#   ... --recipe wmt14-en-de-base                         sizes and options: of scripts/recipes, or a file (default: multi30k)
#   ... --size teacher_large                              another size of the recipe
#   ... --seed 2                                          (default: 1)
#   ... --validation-metric loss                          or bleu: picks the best checkpoint (default: the recipe's)
#   ... --gpus 8                                          by torchrun, with the same tokens in an update
#   ... --nodes 4 --gpus 8                                in a SLURM job: see scripts/slurm.sbatch
#   ... -- --max-update 5000                              what follows -- goes to fairseq-train
#   ... -- --user-dir mine --arch of_mine                 modules of your own: see docs/own-modules.md
#
# Call it again with a larger --max-update to train longer.
#
# The model is OUT/checkpoint_average.pt. Label smoothing is 0.1 for a teacher and 0 for a student if not given.

. "$(dirname "$0")/lib.sh"
data='' out='' recipe=multi30k smoothing='' size=teacher seed=1 gpus=1 nodes=1 metric=''
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=${2%/}; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --label-smoothing) smoothing=$2; shift 2 ;;
        --size) size=$2; shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --validation-metric) metric=$2; shift 2 ;;
        --gpus) gpus=$2; shift 2 ;;
        --nodes) nodes=$2; shift 2 ;;
        --) shift; break ;;
        *) die "unknown option $1 (see --help; options for fairseq-train go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
load_recipe "$recipe"
languages "$data"
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
# What tells a student that its dictionary is another.
cp "$data/bin/dict.$src.txt" "$data/bin/dict.$tgt.txt" "$out/"
lskd average "$out" --last "$average" --or-fewer
