# Sourced by the scripts beside it: strict mode, --help, and the functions that they share.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
user_dir=$root/fairseq_lskd
# Relative where it can be, so that recorded commands mean the same on another machine.
[ "$PWD" = "$root" ] && user_dir=fairseq_lskd

# --help wants nothing to be set up. After -- it is fairseq's.
for word in "$@"; do
    case $word in
        --) break ;;
        --help | -h) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
    esac
done

die() {
    echo "$(basename "$0"): error: $*" >&2
    exit 1
}

# need VALUE FLAG: an option that has to be there.
need() { [ -n "$1" ] || die "$2 is missing (see $(basename "$0") --help)"; }

# has_value OPTION [VALUE ...]: every option but -- takes a value.
has_value() {
    case $1 in
        --) ;;
        -*) case ${2-} in '' | --*) die "$1 is unknown or lacks its value (see --help)" ;; esac ;;
    esac
}

# enter_environment: where the commands are. An environment that is active already, else the checkout's own.
enter_environment() {
    local venv=${LSKD_VENV:-$root/.venv}
    command -v lskd >/dev/null && return
    [ -x "$venv/bin/lskd" ] || die "not set up yet: run $root/scripts/setup.sh"
    PATH=$venv/bin:$PATH
}

# plain_name NAME WHAT: for a name out of a record or a list, before it is part of a path. As in fairseq_lskd/names.py.
plain_name() {
    local name='^[A-Za-z0-9_][A-Za-z0-9._-]*$'
    [[ $1 =~ $name ]] || die "$2 $(printf %q "$1"): expected a plain name (letters, digits, '.', '_' and '-')"
}

# load_recipe NAME: by its name, or by its path, which has a / or ends in .sh. Sets the arrays teacher_model,
# student_model, training, precision and decoding, the numbers
# teacher_updates, student_updates, batches (of --max-tokens in an update, on all GPUs together) and average, and what
# ends a training before its updates: patience, validations in which validation_metric (bleu or loss) does not improve.
# distilled has what is different for a student that a teacher teaches.
load_recipe() {
    batches=1 average=3 precision=() distilled=() validation_metric=loss patience=''
    local file=$root/scripts/recipes/$1.sh
    case $1 in */* | *.sh) file=$1 ;; esac
    [ -f "$file" ] || die "--recipe $1: expected a file (.sh), or one of $(cd "$root/scripts/recipes" && echo *.sh | sed 's/\.sh//g')"
    case $file in */*) ;; *) file=./$file ;; esac # else bash would look for it on the PATH
    . "$file"
    enter_environment
}

# recipe_of RUN: the name of the recipe that it was trained by. A file that only a record names is not run.
recipe_of() {
    enter_environment
    [ -f "$1/run.json" ] || die "$1: no run.json there, which the training scripts write"
    python -m fairseq_lskd.records.told recipe "$1" "$(basename "$0")"
}

# size NAME: sets model, updates, batches and role from the recipe's NAME_model; teachers are those called teacher or
# teacher_... Where each language has a dictionary of its own, a model shares only the embeddings that it can.
size() {
    plain_name "$1" --size # bash would run a command in what it takes for an array's index
    declare -p "$1_model" >/dev/null 2>&1 ||
        die "--size $1: the recipe has $(compgen -v | sed -n 's/_model$//p' | sort | paste -sd ' ')"
    local -n chosen=$1_model
    model=("${chosen[@]}") role=${1%%_*}
    updates=$student_updates batches=${student_batches:-$batches}
    [ "$role" != teacher ] || updates=$teacher_updates batches=${teacher_batches:-$batches}
    [ "$dictionaries" = one ] || model=("${model[@]/#--share-all-embeddings/--share-decoder-input-output-embed}")
}

# languages DATA: sets src, tgt, scheme (how pieces are joined), dictionaries (one or two) and spaces (whether the target
# is written with spaces between words: yes or no) from what `lskd encode` recorded.
languages() {
    [ ! -f "$1/../pieces/encode.json" ] || [ -f "$1/pieces/encode.json" ] ||
        die "--data $1: expected the folder above it, which has raw/, pieces/ and bin/: --data $(dirname "$1")"
    [ -f "$1/pieces/encode.json" ] || die "--data $1: no prepared data there; run scripts/prepare.sh first"
    read -r src tgt scheme dictionaries spaces < <(python -m fairseq_lskd.records.told data "$1" "$(basename "$0")") || exit 1
}

# validation METRIC [OPTION ...]: sets valid, fairseq-train's options for how good a model is and when training stops, from
# the recipe; METRIC, if not empty, takes the place of the recipe's. OPTIONs are the user's own. Whatever is saved is
# validated first, by the same rule for teachers and students: a student of translations has a worse loss on references
# while it gets better.
validation() {
    local metric=${1:-$validation_metric} flag=${1:+--validation-metric}
    # A task that is not fairseq's own may compute no BLEU.
    case " ${*:2} " in *" --task translation "*) ;; *" --task"*) metric=${1:-loss} ;; esac
    case $metric in
        loss) valid=() ;;
        bleu)
            # Greedy, and bounded: a model that has learnt little stops nowhere.
            valid=(--eval-bleu --eval-bleu-args '{"beam": 1, "max_len_a": 2, "max_len_b": 10}' --eval-bleu-detok space)
            # Of words; of pieces where there is no space between words.
            if [ "$spaces" = yes ]; then valid+=(--eval-bleu-remove-bpe "$scheme"); else valid+=(--eval-tokenized-bleu); fi
            case " ${*:2} " in
                *" --best-checkpoint-metric"*) ;;
                *) valid+=(--best-checkpoint-metric bleu --maximize-best-checkpoint-metric) ;;
            esac
            ;;
        *) die "${flag:-the recipe has validation_metric} $metric: expected bleu or loss" ;;
    esac
    [[ $patience =~ ^([1-9][0-9]*)?$ ]] ||
        die "the recipe has patience $patience: expected a number of validations from 1, or nothing for none"
    [ -z "$patience" ] || valid+=(--patience "$patience")
}

# own_modules [OPTION ...]: fairseq's commands take one --user-dir, the last. Where the user's options have one, it takes
# our place as user_dir, and own is its option for commands that need none of ours; it has to register our criterions.
own=()
own_modules() {
    local word previous='' found=()
    for word in "$@"; do
        [ "$previous" != --user-dir ] || found+=("$word")
        case $word in --user-dir=*) found+=("${word#*=}") ;; esac
        previous=$word
    done
    case ${#found[@]} in
        0) return ;;
        1) ;;
        *) die "--user-dir is given ${#found[@]} times, and fairseq would take the last: have one folder import the others" ;;
    esac
    enter_environment
    python -m fairseq_lskd.user_dir "$found" || exit 1
    user_dir=$found own=(--user-dir "$found")
}

# task_of RUN: the options by which fairseq-generate has the task that the run was trained on.
task_of() {
    python -m fairseq_lskd.records.told task "$1" "$(basename "$0")"
}

# has_gpu: whether CUDA has one to show, as the environment allows.
has_gpu() {
    [[ ${CUDA_VISIBLE_DEVICES-0} =~ ^[^-] ]] || return
    [ -e /dev/nvidiactl ] || { nvidia-smi --list-gpus 2>/dev/null || true; } | grep -q .
}

# launcher [OPTION ...]: sets train, the command that trains on --gpus of each of --nodes, and parallel, its options that
# make `batches` times --max-tokens an update, on any number of GPUs. OPTIONs are the user's own.
launcher() {
    local all first
    own_modules "$@"
    case $gpus$nodes in *[!0-9]*) die "--gpus $gpus --nodes $nodes: expected whole numbers" ;; esac
    all=$((gpus * nodes))
    [ "$all" -gt 0 ] || die "--gpus $gpus --nodes $nodes: expected at least 1"
    [ $((batches % all)) = 0 ] || die "--gpus $gpus --nodes $nodes: an update of this recipe is $batches times \
--max-tokens, which $all GPUs cannot share equally; give numbers whose product divides $batches"
    parallel=(--update-freq $((batches / all)))
    # A recipe's precision is for GPUs.
    case " $* " in *" --cpu "*) ;; *) ! has_gpu || parallel+=("${precision[@]}") ;; esac
    if [ "$all" = 1 ]; then
        # Without this fairseq would take every GPU that it sees, and make the batch as many times larger.
        train=(fairseq-train) parallel+=(--distributed-world-size 1)
    elif [ "$nodes" = 1 ]; then
        train=(torchrun --standalone --nproc_per_node "$gpus" -m fairseq_cli.train)
    else
        [ "${SLURM_JOB_NUM_NODES:-}" = "$nodes" ] || die "--nodes $nodes: expected to be in a SLURM job of $nodes nodes, \
found ${SLURM_JOB_NUM_NODES:-none}; see scripts/slurm.sbatch"
        # By the environment, not the command line: a job that SLURM starts again elsewhere is still the same run.
        PET_RDZV_BACKEND=c10d PET_RDZV_ID=$SLURM_JOB_ID
        read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
        PET_RDZV_ENDPOINT=$first:$((20000 + SLURM_JOB_ID % 20000))
        export PET_RDZV_BACKEND PET_RDZV_ID PET_RDZV_ENDPOINT
        train=(srun --ntasks "$nodes" --ntasks-per-node 1 torchrun --nnodes "$nodes" --nproc_per_node "$gpus"
            -m fairseq_cli.train)
    fi
}
