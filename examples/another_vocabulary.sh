#!/usr/bin/env bash
# What can a student learn from a teacher with another vocabulary? At word level, and at sequence level.
#
#   examples/another_vocabulary.sh                        generated bitext, a teacher of 1,000 and students of 400 pieces, three
#                                                         seeds: half an hour on two CPU cores
#   examples/another_vocabulary.sh --corpus multi30k --teacher-pieces 8000 --student-pieces 4000
#   ... --raw DIR                                         Multi30k from files on disk, as for scripts/prepare.sh
#   ... --seeds "1 2"                                     default: "1 2 3"; as many at once as there are cores
#   ... --recipe RECIPE                                   recipe in scripts/recipes (default: the corpus's name)
#   ... --name NAME                                       write to runs/NAME (default: vocabularies-CORPUS)
#
# The other students of the table have no teacher, or a teacher with their own vocabulary. If you run the script again, it
# continues where it was stopped. The table is in runs/NAME/results.

. "$(dirname "$0")/../scripts/lib.sh"
corpus=generated recipe='' raw='' name='' teacher_pieces=1000 student_pieces=400 seeds='1 2 3' only=''
given=("$@")
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --corpus) corpus=$2; shift 2 ;;
        --raw) raw=$(cd "$2" 2>/dev/null && pwd) || die "--raw $2: no such folder"; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --teacher-pieces) teacher_pieces=$2; shift 2 ;;
        --student-pieces) student_pieces=$2; shift 2 ;;
        --seeds) seeds=$2; shift 2 ;;
        --name) name=$2; shift 2 ;;
        --only-seed) only=$2; shift 2 ;; # a call of this script by itself
        *) die "unknown option $1 (see --help)" ;;
    esac
done
case $corpus in generated | multi30k) ;; *) die "--corpus $corpus: expected generated or multi30k" ;; esac
[ -z "$raw" ] || [ "$corpus" = multi30k ] || die "--raw needs --corpus multi30k"
[[ "$teacher_pieces $student_pieces" =~ ^[1-9][0-9]*\ [1-9][0-9]*$ ]] ||
    die "--teacher-pieces $teacher_pieces --student-pieces $student_pieces: expected numbers from 1"
[ "$teacher_pieces" != "$student_pieces" ] || die "--teacher-pieces $teacher_pieces --student-pieces $student_pieces: expected two vocabularies"
[[ $seeds =~ ^[0-9]+(\ [0-9]+)*$ ]] || die "--seeds $seeds: expected numbers"
cd "$root"
enter_environment

theirs=data/$corpus-v$teacher_pieces own=data/$corpus-v$student_pieces runs=runs/${name:-vocabularies-$corpus}
if [ -z "$only" ]; then
    scripts/prepare.sh --corpus "$corpus" --data "$theirs" --vocab-size "$teacher_pieces" ${raw:+--raw "$raw"}
    scripts/prepare.sh --corpus "$corpus" --data "$own" --vocab-size "$student_pieces" ${raw:+--raw "$raw"}
    cores=$(python -c 'import os; print(len(os.sched_getaffinity(0)))')
    tr ' ' '\n' <<<"$seeds" | OMP_NUM_THREADS=1 xargs -P "$cores" -I SEED "$0" "${given[@]}" --only-seed SEED ||
        die "a step failed, see above. Fix it and run this script again: finished steps are skipped"
    mkdir -p "$runs/results"
    records=()
    for system in teacher teacher-own student word word-own seq; do
        for seed in $seeds; do records+=("$runs/$system-s$seed/result.json"); done
    done
    lskd table "${records[@]}" --over-seeds --out "$runs/results/results.json" --write "$runs/results/table.md"
    exit
fi

# run SCRIPT SYSTEM DATA [OPTION ...]: train and score one model.
run() {
    scripts/"$1" --data "$3" --recipe "${recipe:-$corpus}" --seed "$only" --out "$runs/$2-s$only" "${@:4}"
    scripts/score.sh --data "$3" --recipe "${recipe:-$corpus}" --run "$runs/$2-s$only"
}
teacher=$runs/teacher-s$only/checkpoint_average.pt own_teacher=$runs/teacher-own-s$only/checkpoint_average.pt
run train_teacher.sh teacher "$theirs" --label-smoothing 0.1
run train_teacher.sh teacher-own "$own" --label-smoothing 0.1
run train_teacher.sh student "$own" --size student
lskd cache "$own/bin" --teacher-path "$teacher" --teacher-text "$theirs/bin" --out "$runs/cache-s$only"
run distill_word.sh word "$own" --teacher-cache "$runs/cache-s$only" --kd-weight 1
lskd cache "$own/bin" --teacher-path "$own_teacher" --out "$runs/cache-own-s$only"
run distill_word.sh word-own "$own" --teacher-cache "$runs/cache-own-s$only" --kd-weight 1
run distill_seq.sh seq "$own" --teacher "$teacher" --teacher-data "$theirs"
