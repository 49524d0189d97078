#!/usr/bin/env bash
# From nothing to a table: teachers with and without label smoothing, students of each, all scored.
#
#   scripts/quickstart.sh                                   a generated bitext; ten minutes on two CPU cores
#   scripts/quickstart.sh --corpus multi30k                 Multi30k de-en, downloaded; forty minutes
#   scripts/quickstart.sh --corpus multi30k --raw DIR       the same from {train,val,test_2016_flickr}.{de,en}[.gz]
#   ... --name NAME                                         results in runs/NAME (default: the corpus' name)
#
# Call it again and it goes on where it was stopped. The table is also in runs/NAME/results.json.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

corpus=generated raw='' name=''
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --corpus) corpus=$2; shift 2 ;;
        --raw) raw=$(cd "$2" && pwd) || die "--raw $2: no such folder"; shift 2 ;;
        --name) name=$2; shift 2 ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
done
[ -z "$raw" ] || [ "$corpus" = multi30k ] || die "--raw goes with --corpus multi30k only"
case $corpus in generated | multi30k) ;; *) die "--corpus $corpus: expected generated or multi30k" ;; esac
cd "$root"
scripts/setup.sh
# This environment, whatever else is on the PATH.
PATH=$(cd "${LSKD_VENV:-.venv}" && pwd)/bin:$PATH

data=data/$corpus runs=runs/${name:-$corpus}
start=$SECONDS

scripts/prepare.sh --corpus "$corpus" --data "$data" ${raw:+--raw "$raw"}

# One lane a teacher, both at once, each on half of the cores: small models gain little from more threads.
cores=$(python -c 'import os; print(len(os.sched_getaffinity(0)))')
export OMP_NUM_THREADS=$(((cores + 1) / 2))

# lane SMOOTHING: a teacher, its word-level student, its sequence-level student.
lane() {
    local teacher=$runs/teacher-$1/checkpoint_average.pt of=(--data "$data" --recipe "$corpus")
    scripts/train_teacher.sh "${of[@]}" --label-smoothing "$1" --out "$runs/teacher-$1"
    scripts/score.sh "${of[@]}" --run "$runs/teacher-$1"
    scripts/distill_word.sh "${of[@]}" --teacher "$teacher" --teacher-smoothing "$1" --out "$runs/word-$1"
    scripts/score.sh "${of[@]}" --run "$runs/word-$1"
    scripts/distill_seq.sh "${of[@]}" --teacher "$teacher" --teacher-smoothing "$1" --out "$runs/seq-$1"
    scripts/score.sh "${of[@]}" --run "$runs/seq-$1"
}
plain() {
    scripts/train_teacher.sh --data "$data" --recipe "$corpus" --size student --label-smoothing 0.0 --out "$runs/student"
    scripts/score.sh --data "$data" --recipe "$corpus" --run "$runs/student"
}

# Each lane is a process group, so that an interrupt ends all of it and nothing else.
lanes=()
trap 'kill -TERM -- "${lanes[@]/#/-}" 2>/dev/null; wait; exit 130' INT TERM
set -m
{ lane 0.0; plain; } & lanes+=($!)
lane 0.1 & lanes+=($!)
set +m
failed=0
for pid in "${lanes[@]}"; do wait "$pid" || failed=1; done
[ $failed = 0 ] || die "a step failed, see above; mend it and call this again: finished steps are kept"

echo
lskd table "$runs"/{teacher-0.0,teacher-0.1,student,word-0.0,word-0.1,seq-0.0,seq-0.1}/result.json --out "$runs/results.json"
echo
echo "$runs/results.json, after $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s (this call)."
