#!/usr/bin/env bash
# Train one student of several language pairs, at word level from a teacher for each pair (Tan et al., ICLR 2019), or
# without teachers.
#
#   scripts/distill_multilingual.sh --data data/many --out runs/many/word \
#       --teachers de-en=runs/many/teacher-de-en/checkpoint_average.pt,fr-en=runs/many/teacher-fr-en/checkpoint_average.pt
#   scripts/distill_multilingual.sh --data data/many --out runs/many/student     without teachers
#   ... --kd-weight 0.7 --kd-temperature 2                share of the teachers in the loss (default: 0.5), and temperature
#                                                         (default: 1)
#   ... --recipe generated                                sizes and training options: a name in scripts/recipes, or a file
#                                                         (default: multi30k)
#   ... --size student_small                              a size of the recipe (default: student)
#   ... --seed 2                                          random seed (default: 1)
#   ... --gpus 8                                          number of GPUs, for torchrun; tokens per update stay the same
#   ... -- --kd-threshold 1 --max-update 5000             options after -- are passed to fairseq-train
#
# The data are those of scripts/prepare_pairs.sh. Teachers are bilingual models of scripts/train_teacher.sh --data
# data/many/de-en. A student of n pairs has n times the updates of the recipe, so that it sees as much of each pair as a
# bilingual student. Early stopping and the best checkpoint are by the validation loss over all pairs.
#
# The model is OUT/checkpoint_average.pt. scripts/score.sh --data data/many/de-en --run OUT scores it on one pair.

. "$(dirname "$0")/lib.sh"
data='' out='' teachers='' recipe=multi30k weight='' temperature='' seed=1 size=student gpus=1 nodes=1
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=${2%/}; shift 2 ;;
        --teachers) teachers=$2; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --kd-weight) weight=$2; shift 2 ;;
        --kd-temperature) temperature=$2; shift 2 ;;
        --size) size=$2; shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --gpus) gpus=$2; shift 2 ;;
        --) shift; break ;;
        *) unknown_option "$1" "(see --help; options for fairseq-train go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
[ -n "$teachers" ] || [ -z "$weight$temperature" ] || die "--kd-weight and --kd-temperature need --teachers"
load_recipe "$recipe"
pairs "$data"
languages "$data/${pairs[0]}"
size "$size"
# As many validations without improvement, in terms of the text that the student sees.
[ -z "$patience" ] || patience=$((patience * ${#pairs[@]}))
validation loss "$@"
launcher "$@"
criterion=(--criterion label_smoothed_teacher --label-smoothing 0.0) inputs=()
if [ -n "$teachers" ]; then
    criterion=(--criterion word_kd --teacher-path "$teachers" --kd-weight "${weight:-0.5}"
        --kd-temperature "${temperature:-1.0}" "${distilled[@]}")
    IFS=,: read -ra files <<<"$teachers"
    for file in "${files[@]}"; do
        # The first checkpoint of a pair has its name: de-en=a.pt
        if [[ $file =~ ^[^/=]+-[^/=]+=(.*) ]]; then file=${BASH_REMATCH[1]}; fi
        [ "$file" = none ] || inputs+=(--input "$file")
    done
fi

lskd run --out "$out" --label role=student --label recipe="$recipe" --label size="$size" "${inputs[@]}" \
    --input "$data/vocabulary/pieces/encode.json" -- \
    "${train[@]}" "$data/bin" --task translation_multi_simple_epoch --lang-pairs "$(IFS=,; echo "${pairs[*]}")" \
    --langs "$langs" --encoder-langtok src --user-dir "$user_dir" "${model[@]}" "${training[@]}" "${criterion[@]}" \
    "${valid[@]}" "${parallel[@]}" --max-update $((updates * ${#pairs[@]})) --seed "$seed" \
    --save-dir "$out" --log-format json --log-interval 20 "$@"
lskd average "$out" --last "$average" --or-fewer
