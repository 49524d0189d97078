#!/usr/bin/env bash
# Train teachers with and without label smoothing at several vocabulary sizes: does smoothing hurt more with more classes?
#
#   examples/vocabulary_sizes/train.sh                                  generated bitext: six teachers as in the quickstart
#   examples/vocabulary_sizes/train.sh --updates 300 --sizes "200 800"  a fifth of the updates; minutes on two CPU cores
#   examples/vocabulary_sizes/train.sh --corpus multi30k --sizes "1000 2000 4000 8000"
#   ... --raw DIR                                                       Multi30k from files on disk, as for scripts/prepare.sh
#   ... --label-smoothing 0.2 --seed 2                                  smoothed teachers, and seed (default: 0.1 and 1)
#   ... --name NAME                                                     write to runs/NAME (default: vocabulary-CORPUS)
#
# Each size is a number of SentencePiece pieces. All sizes have the same text. If you run the script again, it continues
# where it was stopped. The report is in runs/NAME/report: README.md, CSV files and a plot.

. "$(dirname "$0")/../../scripts/lib.sh"
corpus=generated raw='' name='' sizes='' updates='' smoothing=0.1 seed=1
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --corpus) corpus=$2; shift 2 ;;
        --raw) raw=$(cd "$2" && pwd) || die "--raw $2: no such folder"; shift 2 ;;
        --sizes) sizes=$2; shift 2 ;;
        --updates) updates=$2; shift 2 ;;
        --label-smoothing) smoothing=$2; shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --name) name=$2; shift 2 ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
done
case $corpus in
    generated) target=yy sizes=${sizes:-200 400 800} ;;
    multi30k) target=en sizes=${sizes:-1000 2000 4000 8000} ;;
    *) die "--corpus $corpus: expected generated or multi30k" ;;
esac
[ -z "$raw" ] || [ "$corpus" = multi30k ] || die "--raw needs --corpus multi30k"
count=0
for size in $sizes; do
    case $size in *[!0-9]*) die "--sizes $sizes: expected numbers" ;; esac
    count=$((count + 1))
done
[ $count -ge 2 ] || die "--sizes $sizes: expected at least two"
python3 -c 'import sys; raise SystemExit(not 0 < float(sys.argv[1]) < 1)' "$smoothing" 2>/dev/null ||
    die "--label-smoothing $smoothing: expected a number between 0 and 1"
case $updates in *[!0-9]*) die "--updates $updates: expected a number" ;; esac
schedule=()
if [ -n "$updates" ]; then
    # Scale the warm-up and the interval of averaged checkpoints with the number of updates.
    [ "$updates" -ge 30 ] || die "--updates $updates: expected at least 30"
    schedule=(--max-update "$updates" --warmup-updates $((updates / 5)) --save-interval-updates $((updates / 10)))
fi
cd "$root"
enter_environment

runs=runs/${name:-vocabulary-$corpus}
for size in $sizes; do
    data=data/$corpus-v$size
    scripts/prepare.sh --corpus "$corpus" --data "$data" --vocab-size "$size" ${raw:+--raw "$raw"}
done

# lane SMOOTHING: train the teachers of all sizes in turn. Both lanes run in parallel, each on half of the cores.
cores=$(python -c 'import os; print(len(os.sched_getaffinity(0)))')
export OMP_NUM_THREADS=$(((cores + 1) / 2))
lane() {
    for size in $sizes; do
        local data=data/$corpus-v$size out=$runs/v$size/teacher-$1
        scripts/train_teacher.sh --data "$data" --recipe "$corpus" --label-smoothing "$1" --seed "$seed" --out "$out" \
            ${schedule[@]+-- "${schedule[@]}"}
        scripts/score.sh --data "$data" --recipe "$corpus" --run "$out"
    done
}

# Each lane is a process group, so that an interrupt can kill all of its processes.
lanes=()
trap 'kill -TERM -- "${lanes[@]/#/-}" 2>/dev/null; wait; exit 130' INT TERM
set -m
lane 0.0 & lanes+=($!)
lane "$smoothing" & lanes+=($!)
set +m
failed=0
for pid in "${lanes[@]}"; do wait "$pid" || failed=1; done
[ $failed = 0 ] || die "a step failed, see above. Fix it and run this script again: finished steps are skipped"

# All sizes have the same text.
references=data/$corpus-v${sizes%% *}/raw/test.$target
[ -f "$references" ] || references+=.gz
python examples/vocabulary_sizes/size_report.py "$runs" --references "$references" --out "$runs/report"
