#!/usr/bin/env bash
# Distil a student at word level: it learns to match the teacher's distribution at every target token.
#
#   scripts/distill_word.sh --data data/multi30k --teacher runs/mine/teacher-0.1/checkpoint_average.pt --out runs/mine/word-0.1
#   ... --teacher a.pt:b.pt                               an ensemble of teachers, with averaged probabilities
#   ... --teacher-cache runs/mine/cache                   a cache that `lskd cache` wrote, instead of --teacher
#   ... --kd-weight 0.7 --kd-temperature 2                share of the teacher in the loss (default: 0.5), and temperature
#                                                         (default: 1)
#   ... --teacher-smoothing 0.1 --teacher-size teacher    optional: labels, compared with the teacher
#   ... --recipe wmt14-en-de-base                         sizes and training options: a name in scripts/recipes, or a file
#                                                         (default: multi30k)
#   ... --size student_small                              a size of the recipe (default: student)
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
# The model is OUT/checkpoint_average.pt.

. "$(dirname "$0")/lib.sh"
data='' out='' teacher='' recipe=multi30k cache='' weight=0.5 temperature=1.0 seed=1 size=student labels=() gpus=1 nodes=1 metric=''
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=${2%/}; shift 2 ;;
        --teacher) teacher=$2; shift 2 ;;
        --teacher-cache) cache=${2%/}; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --kd-weight) weight=$2; shift 2 ;;
        --kd-temperature) temperature=$2; shift 2 ;;
        --teacher-smoothing) labels+=(--label "teacher_smoothing=$2"); shift 2 ;;
        --teacher-size) labels+=(--label "teacher_size=$2"); shift 2 ;;
        --size) size=$2; shift 2 ;;
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
need "$teacher$cache" "--teacher or --teacher-cache"
[ -z "$teacher" ] || [ -z "$cache" ] || die "--teacher $teacher --teacher-cache $cache: expected one of them"
load_recipe "$recipe"
languages "$data"
size "$size"
validation "$metric" "$@"
launcher "$@"
from=() inputs=()
if [ -n "$teacher" ]; then
    IFS=: read -ra teachers <<<"$teacher"
    from=(--teacher-path "$teacher") inputs=("${teachers[@]/#/--input=}")
fi
[ -z "$cache" ] || from+=(--teacher-cache "$cache") inputs+=(--input "$cache/cache.json")

lskd run --out "$out" --label role=student --label recipe="$recipe" --label size="$size" "${labels[@]}" \
    "${inputs[@]}" --input "$data/pieces/encode.json" -- \
    "${train[@]}" "$data/bin" -s "$src" -t "$tgt" --user-dir "$user_dir" \
    --criterion word_kd "${from[@]}" --kd-weight "$weight" --kd-temperature "$temperature" \
    "${model[@]}" "${training[@]}" "${distilled[@]}" "${valid[@]}" "${parallel[@]}" --max-update "$updates" --seed "$seed" \
    --save-dir "$out" --log-format json --log-interval 20 "$@"
keep_dictionaries
lskd average "$out" --last "$average" --or-fewer
