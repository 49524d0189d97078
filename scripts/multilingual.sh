#!/usr/bin/env bash
# Compare one student of several language pairs, taught by their bilingual teachers, with bilingual students of its size
# and with one student of all pairs without teachers. Print one table: BLEU and the share of the gap closed, per pair.
#
#   scripts/multilingual.sh                               at the scale smoke: minutes on a CPU, to check that it runs
#   scripts/multilingual.sh --scale cpu                   three generated languages, three seeds: about 45 minutes
#                                                         of two CPU cores per seed
#   scripts/multilingual.sh --scale cpu --seeds 1         the same with one seed
#   scripts/multilingual.sh --raw my/text --pairs de-en,fr-en --recipe multi30k --name mine
#                                                         text of your own: see scripts/prepare_pairs.sh
#   ... --recipe my/recipe.sh                             recipe instead of the scale's: a name in scripts/recipes, or a file
#   ... --vocab-size 8000                                 number of SentencePiece pieces of the joint vocabulary
#   ... --jobs 3                                          jobs at once (default: one per GPU; without a GPU, two)
#   ... --name NAME                                       work in data/NAME and runs/NAME (default: by the scale)
#   ... --directory DIR                                   folder for data/ and runs/ (default: the checkout)
#   ... --dry-run                                         print how many jobs would run, and their commands
#   ... -- --dry-run                                      print inputs, outputs and reasons too
#   ... -- --keep-going                                   options after -- are passed to snakemake
#
# If it is stopped or killed, call it again to continue. Steps whose inputs have not changed are skipped. Results are in
# runs/NAME/results. The environment is set up automatically.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
scale='' seeds='' jobs='' raw='' pairs='' recipe='' name='' directory=$root vocab=() dry=0
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run | -n) dry=1; shift; continue ;;
    esac
    has_value "$@"
    case $1 in
        --scale) scale=$2; shift 2 ;;
        --seeds) seeds=$2; shift 2 ;;
        --jobs) jobs=$2; shift 2 ;;
        --vocab-size) vocab=(--vocab-size "$2"); shift 2 ;;
        --raw) raw=$(cd "$2" 2>/dev/null && pwd) || die "--raw $2: no such folder"; shift 2 ;;
        --pairs) pairs=$2; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --name) name=$2; shift 2 ;;
        --directory) directory=$2; shift 2 ;;
        --) shift; break ;;
        *) unknown_option "$1" "(see --help; options for snakemake go after --)" ;;
    esac
done
prepare=(--corpus generated)
if [ -n "$raw$pairs" ]; then
    [ -z "$scale" ] || die "--scale $scale is for generated text; leave it out with --raw"
    need "$raw" --raw
    need "$pairs" --pairs
    prepare=(--raw "$raw" --pairs "$pairs")
    need "$name" "--name, which --raw needs,"
    recipe=${recipe:-multi30k} seeds=${seeds:-1,2,3}
else
    pairs=xx-yy,ww-yy,zz-yy
    case ${scale:=smoke} in
        smoke)
            prepare+=(--train 1000 --valid 100 --test 100 --references 4 --vocab-size 600)
            recipe=${recipe:-smoke} seeds=${seeds:-1} name=${name:-multilingual-smoke}
            ;;
        cpu) recipe=${recipe:-generated} seeds=${seeds:-1,2,3} name=${name:-multilingual} ;;
        *) die "--scale $scale: expected smoke or cpu" ;;
    esac
fi
[[ $seeds =~ ^[1-9][0-9]*(,[1-9][0-9]*)*$ ]] || die "--seeds $seeds: expected numbers from 1, separated by commas"
plain_name "$name" --name
start_experiment
scripts=$root/scripts data=data/$name
[ "$PWD" != "$root" ] || scripts=scripts
printf -v command '%q ' "$scripts/prepare_pairs.sh" --data "$data" "${prepare[@]}" "${vocab[@]}"
snakemake_call "$root/experiments/multilingual/Snakefile" pairs="$(yaml "$pairs")" seeds="$(yaml "$seeds")" \
    recipe="$(yaml "$recipe")" name="$(yaml "$name")" prepare="$(yaml "$command")"
dry_run_if_asked "$@"
check_prepared "$data" "$command"
run_experiment "runs/$name/results" "$@"
