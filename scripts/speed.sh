#!/usr/bin/env bash
# Measure how fast runs decode the test set with plain fairseq-generate. The models take turns. Let nothing else run meanwhile.
#
#   scripts/speed.sh --data data/multi30k --out runs/mine/speed.json runs/mine/teacher-0.1 runs/mine/word-0.1
#   ... --recipe multi30k                                 recipe with the search options (default: that of the first run)
#   ... --user-dir mine                                   your own modules, if the models need them
#   ... --threads 1                                       number of CPU cores (default: OMP_NUM_THREADS, or a GPU)
#   ... --rounds 3                                        number of rounds, of which the median counts (default: 3)
#
# Models that score.sh --export exported are measured too. `lskd table ... --speed OUT` adds the speeds to the scores.

. "$(dirname "$0")/lib.sh"
data='' out='' first='' recipe='' rounds=3 threads='' runs=() modules=()
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=$2; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        --threads) threads=$2; shift 2 ;;
        --user-dir) modules+=(--user-dir "$2"); shift 2 ;;
        -*) unknown_option "$1" "(see --help)" ;;
        *)
            [ -f "$1/run.json" ] || die "unknown option $1, or not the folder of a run (see --help)"
            first=${first:-$1}
            runs+=(--model "$(basename "$1")=$1/checkpoint_average.pt")
            [ ! -f "$1/exported/export.json" ] || runs+=(--exported "$(basename "$1")=$1/exported")
            shift ;;
    esac
done
need "$data" --data
need "$out" --out
need "${runs[*]-}" "the folder of a run"
[ -n "$recipe" ] || recipe=$(recipe_of "$first")
load_recipe "$recipe"
languages "$data"
read -ra task < <(task_of "$first") || exit 1

lskd speed --data "$data/bin" "${runs[@]}" "${modules[@]}" --out "$out" --rounds "$rounds" \
    ${threads:+--threads "$threads"} -- \
    -s "$src" -t "$tgt" "${decoding[@]}" --remove-bpe "$scheme" "${task[@]}"
