# Sourced by the other scripts: strict mode, --help, and shared functions.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
user_dir=$root/fairseq_lskd
# Relative if possible, so that recorded commands are valid on another machine.
[ "$PWD" = "$root" ] && user_dir=fairseq_lskd

# Ctrl-C ends a script when its command has ended. Otherwise bash goes on after a command that handles Ctrl-C itself.
trap 'exit 130' INT
called=("$0" "$@")

# --help works without an environment. After -- it is passed to the other command.
for word in "$@"; do
    case $word in
        --) break ;;
        --help | -h) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
    esac
done

die() {
    local message
    message="$(basename "$0"): error: $*"
    echo "$message" >&2
    # experiment.sh prints the messages of its steps at its end.
    [ -z "${LSKD_COLLECTED_ERRORS-}" ] || echo "$message" >>"$LSKD_COLLECTED_ERRORS"
    exit 1
}

# unknown_option OPTION HINT: end, and name the option of this script that was probably meant.
unknown_option() {
    local near
    near=$(sed -nE 's/^ +(-[^)]*)\) .*/\1/p' "$0" | tr '|' '\n' | python3 -c '
import difflib, sys
word, known = sys.argv[1], sys.stdin.read().split()
whole = [option for option in known if option.startswith(word) and len(word) > 3]
print(*(whole or difflib.get_close_matches(word, known, cutoff=0.8))[:1])' "$1" 2>/dev/null) || true
    die "unknown option $1${near:+; did you mean $near?} $2"
}

# find_python VERSION: print a Python of this version (such as 3.12) on PATH or among pyenv's versions, or nothing.
find_python() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c "import sys; raise SystemExit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

# need VALUE FLAG: check that a required option was given.
need() { [ -n "$1" ] || die "$2 is missing (see $(basename "$0") --help)"; }

# has_value OPTION [VALUE ...]: check that an option has a value; all options except these two need one.
has_value() {
    case $1 in
        -- | --allow-shifted) ;;
        -*)
            case ${2-} in
                '' | --*)
                    grep -qE -- "(^ +|\| )$1( \||\))" "$0" || unknown_option "$1" "(see --help)"
                    die "$1 needs a value (see --help); is a variable empty?" ;;
            esac ;;
    esac
}

# enter_environment: use the active environment or, if it has no lskd, that of the checkout.
enter_environment() {
    local venv=${LSKD_VENV:-$root/.venv}
    command -v lskd >/dev/null && return
    [ -x "$venv/bin/lskd" ] || die "not set up yet: run $root/scripts/setup.sh"
    PATH=$venv/bin:$PATH
}

# plain_name NAME WHAT: check a name that will be part of a path, as fairseq_lskd/names.py does.
plain_name() {
    local name='^[A-Za-z0-9_][A-Za-z0-9._-]*$'
    [[ $1 =~ $name ]] || die "$2 $(printf %q "$1"): expected a plain name (letters, digits, '.', '_' and '-')"
}

# load_recipe NAME: source a recipe, given by its name or by its path, which has a / or ends in .sh. It sets
# - the arrays teacher_model, student_model, training, precision and decoding (options of fairseq's commands), and
#   distilled (further options for students with a teacher);
# - the numbers teacher_updates, student_updates, batches (of --max-tokens per update, over all GPUs) and average (the
#   number of checkpoints to average);
# - for early stopping, validation_metric (bleu or loss) and patience (validations without improvement).
load_recipe() {
    batches=1 average=3 precision=() distilled=() validation_metric=loss patience=''
    local file=$root/scripts/recipes/$1.sh
    case $1 in */* | *.sh) file=$1 ;; esac
    [ -f "$file" ] || die "--recipe $1: expected a file (.sh), or one of $(cd "$root/scripts/recipes" && echo *.sh | sed 's/\.sh//g')"
    case $file in */*) ;; *) file=./$file ;; esac # otherwise bash would search PATH
    . "$file"
    enter_environment
}

# recipe_of RUN: print the name of the run's recipe. Refuse a file, because only the user may name a file to source.
recipe_of() {
    enter_environment
    [ -f "$1/run.json" ] || die "$1: no run.json there; expected a folder that a training script wrote (after plain fairseq-train, use lskd record: docs/fairseq-train.md)"
    python -m fairseq_lskd.records.told recipe "$1" "$(basename "$0")"
}

# size NAME: set model, updates, batches and role from the recipe's NAME_model. The role is teacher for the names teacher
# and teacher_... With separate dictionaries, a model only shares the decoder's embeddings.
size() {
    plain_name "$1" --size # bash would run a command inside an array index
    declare -p "$1_model" >/dev/null 2>&1 ||
        die "--size $1: the recipe has $(compgen -v | sed -n 's/_model$//p' | sort | paste -sd ' ')"
    local -n chosen=$1_model
    model=("${chosen[@]}") role=${1%%_*}
    updates=$student_updates batches=${student_batches:-$batches}
    [ "$role" != teacher ] || updates=$teacher_updates batches=${teacher_batches:-$batches}
    [ "$dictionaries" = one ] || model=("${model[@]/#--share-all-embeddings/--share-decoder-input-output-embed}")
}

# languages DATA [FLAG]: set src, tgt, scheme (for --remove-bpe), dictionaries (one or two), and spaces and source_spaces
# (yes if the target or source language has spaces between words, else no) from the manifest of `lskd encode`. FLAG gave
# DATA (--data).
languages() {
    local flag=${2:---data}
    [ ! -f "$1/../pieces/encode.json" ] || [ -f "$1/pieces/encode.json" ] ||
        die "$flag $1: expected the folder above it, which has raw/, pieces/ and bin/: $flag $(dirname "$1")"
    [ -f "$1/pieces/encode.json" ] || die "$flag $1: no prepared data there; run scripts/prepare.sh first"
    read -r src tgt scheme dictionaries spaces source_spaces < <(python -m fairseq_lskd.records.told data "$1" "$(basename "$0")") || exit 1
}

# direction PAIR: exchange src and tgt if PAIR is the other direction of --data.
direction() {
    case $1 in
        '') ;;
        "$src-$tgt")
            echo "$(basename "$0"): warning: --direction $1 is the direction of --data $data; a backward model needs --direction $tgt-$src" >&2 ;;
        "$tgt-$src")
            local first=$src
            src=$tgt tgt=$first spaces=$source_spaces ;;
        *) die "--direction $1: --data $data has $src and $tgt; expected $src-$tgt or $tgt-$src" ;;
    esac
}

# yaml VALUE: quote a value, because Snakemake parses its configuration as YAML.
yaml() { printf "'%s'" "${1//\'/\'\'}"; }

# machine: set gpus, the number of GPUs; jobs, if it is empty; and threads, of each job.
machine() {
    local cores
    cores=$(python -c 'import os; print(len(os.sched_getaffinity(0)))')
    if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
        # As in CUDA, only the GPUs before the first negative number count.
        gpus=$(tr , '\n' <<<"$CUDA_VISIBLE_DEVICES" | sed '/^-/,$d' | grep -c . || true)
    else
        gpus=$({ nvidia-smi --list-gpus 2>/dev/null || true; } | grep -c . || true)
    fi
    # One job per GPU, or two jobs on the CPU, because small models gain little from more threads.
    [ -n "$jobs" ] || jobs=$((gpus > 0 ? gpus : (cores > 1 ? 2 : 1)))
    threads=${OMP_NUM_THREADS:-$(((cores + jobs - 1) / jobs))}
}

# interrupted: end after Ctrl-C.
interrupted() {
    local again
    printf -v again '%q ' "${called[@]}"
    printf '\n%s\n' "$(basename "$0"): interrupted. Finished steps are kept. To continue: ${again% }" >&2
    exit 130
}

# start_experiment: check --jobs and --recipe, set up the environment, and work in $directory, which gets locked.
start_experiment() {
    [[ $jobs =~ ^([1-9][0-9]*)?$ ]] || die "--jobs $jobs: expected a number from 1"
    case $recipe in */* | *.sh) recipe=$(realpath -- "$recipe") ;; esac
    "$root/scripts/setup.sh" >&2
    trap interrupted INT
    PATH=$(cd "$root" && cd "${LSKD_VENV:-.venv}" && pwd)/bin:$PATH
    mkdir -p "$directory"
    cd "$directory"
    machine
    # Snakemake's own lock stays after a kill. This one is released when the last process of the experiment ends.
    exec 8>.experiment.lock
    flock -n 8 || die "an experiment is already running in $PWD; wait until it ends, or stop it"
}

# snakemake_call SNAKEFILE NAME=VALUE ...: set call, the command of an experiment with this configuration.
snakemake_call() {
    call=(python -m fairseq_lskd.experiments.stoppable --snakefile "$1" --cores $((jobs * threads))
        --resources gpu="$jobs" --nolock --rerun-incomplete --printshellcmds --quiet host
        --config gpus="$gpus" threads="$threads" "${@:2}")
}

# check_prepared DATA COMMAND: if another command prepared the data, run this one: it refuses, or finds nothing to do.
# If Snakemake ran it, DATA/prepared would be deleted even if it refuses, and the jobs that use the data would run again.
check_prepared() {
    local marker=$1/prepared
    [ -e "$marker" ] && [ "$(<"$marker")" != "$2" ] || return 0
    LSKD_REPLACE=0 bash -c "$2" || exit 1
    echo "$2" >"$marker.new"
    touch -r "$marker" "$marker.new"
    mv "$marker.new" "$marker"
}

# dry_run_if_asked [OPTION ...]: print the number of jobs and their commands, without Snakemake's paragraph about each, or
# with it (--dry-run after --). Then exit.
dry_run_if_asked() {
    local said
    case "$dry $* " in
        1*) ;;
        *" --dry-run "* | *" -n "*) exec "${call[@]}" "$@" ;;
        *) return ;;
    esac
    said=$("${call[@]}" --dry-run "$@") || { printf '%s\n' "$said"; exit 1; }
    awk '
        /^Job stats:/ && !tables++ { table = 1 }
        /^$/ && table { table = 0; print "" }
        table || /^Nothing to be done/ { print }
        sub(/^Shell command: /, "") { print (length($0) > 400 ? substr($0, 1, 400) " ..." : $0) }
    ' <<<"$said"
    printf '\nThe run has another order. Give --dry-run after -- for inputs, outputs and reasons too.\n'
    exit
}

# run_experiment RESULTS [OPTION ...]: run the experiment, and print the tables in RESULTS.
run_experiment() {
    local results=$1 start=$SECONDS
    shift
    # Snakemake's report follows the message of a step that failed. Print the message again, after it.
    export LSKD_COLLECTED_ERRORS=$PWD/.experiment.errors
    : >"$LSKD_COLLECTED_ERRORS"
    # If a teacher is compared again, Snakemake forgets the jobs after that (those behind an `ancient` file). The second
    # call runs them.
    if ! "${call[@]}" "$@" || ! "${call[@]}" "$@"; then
        printf '\n' >&2
        cat "$LSKD_COLLECTED_ERRORS" >&2
        die "a step failed or was stopped, see above; fix the problem and call this again: finished steps are kept"
    fi
    echo
    if [ ! -e "$results/results.json" ]; then
        echo "Done, as far as you asked. For the tables, call this again without the options of snakemake."
        return
    fi
    lskd table "$results/results.json" --over-seeds
    echo
    lskd table "$results/results.json" --differences
    echo
    echo "Results are in $PWD/$results. This call took $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s."
}

# pairs DATA: set the array pairs, and langs (all their languages, separated by commas), from the files in DATA/bin.
pairs() {
    local file pair
    pairs=() langs=''
    for file in "$1"/bin/train.*-*.*.idx; do
        [ -f "$file" ] || die "--data $1: no prepared data there; run scripts/prepare_pairs.sh first"
        pair=${file##*/train.} pair=${pair%%.*}
        case " ${pairs[*]-} " in *" $pair "*) continue ;; esac
        plain_name "$pair" "--data $1: the pair"
        pairs+=("$pair")
    done
    langs=$(printf '%s\n' "${pairs[@]%-*}" "${pairs[@]#*-}" | LC_ALL=C sort -u | paste -sd ,)
}

# validation METRIC [OPTION ...]: set valid, the options of fairseq-train for validation and early stopping, from the recipe.
# METRIC, if not empty, replaces the recipe's. OPTIONs are the user's. Teachers and students use the same metric. BLEU suits
# students that learn from translations: their loss on the references grows while they improve.
validation() {
    local metric=${1:-$validation_metric} flag=${1:+--validation-metric}
    # Tasks other than fairseq's translation may not compute BLEU.
    case " ${*:2} " in *" --task translation "* | *" --task=translation "*) ;; *" --task"*) metric=${1:-loss} ;; esac
    case $metric in
        loss) valid=() ;;
        bleu)
            # Greedy search with a maximum length, because a model does not generate </s> early in training.
            valid=(--eval-bleu --eval-bleu-args '{"beam": 1, "max_len_a": 2, "max_len_b": 10}' --eval-bleu-detok space)
            # BLEU of words, or of pieces if the language has no spaces between words.
            if [ "$spaces" = yes ]; then valid+=(--eval-bleu-remove-bpe "$scheme"); else valid+=(--eval-tokenized-bleu); fi
            case " ${*:2} " in
                *" --best-checkpoint-metric"*) ;;
                *) valid+=(--best-checkpoint-metric bleu --maximize-best-checkpoint-metric) ;;
            esac
            ;;
        *) die "${flag:-the recipe has validation_metric} $metric: expected bleu or loss" ;;
    esac
    [[ $patience =~ ^([1-9][0-9]*)?$ ]] ||
        die "the recipe has patience $patience: expected a number of validations from 1, or nothing for no early stopping"
    [ -z "$patience" ] || valid+=(--patience "$patience")
}

# own_modules [OPTION ...]: use the --user-dir in the user's options instead of ours, because fairseq only accepts one. It
# must register our criterions. Set user_dir, and own, the option for commands that do not need our modules.
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
        *) die "--user-dir is given ${#found[@]} times, but fairseq only uses the last: import the other folders in one of them" ;;
    esac
    enter_environment
    python -m fairseq_lskd.user_dir "$found" || exit 1
    user_dir=$found own=(--user-dir "$found")
}

# task_of RUN: print the options of fairseq-generate for the task of the run.
task_of() {
    python -m fairseq_lskd.records.told task "$1" "$(basename "$0")"
}

# same_pair RUN: check that the run was trained on the languages of --data.
same_pair() {
    local pair
    read -r pair < <(python -m fairseq_lskd.records.told pair "$1" "$(basename "$0")") || return 0
    [ -z "$pair" ] || [ "$pair" = "$src-$tgt" ] || die "--run $1 was trained on $pair, but --data $data is $src-$tgt: give the data of the run"
}

# keep_dictionaries: copy the dictionaries of --data beside the model in --out, which is wrong with any others.
keep_dictionaries() { cp "$data/bin/dict.$src.txt" "$data/bin/dict.$tgt.txt" "$out/"; }

# same_dictionaries RUN: check that the dictionaries of --data are those that the run was trained with.
same_dictionaries() {
    local language
    for language in "$src" "$tgt"; do
        [ ! -f "$1/dict.$language.txt" ] || cmp -s "$1/dict.$language.txt" "$data/bin/dict.$language.txt" ||
            die "--run $1 was trained with another vocabulary than --data $data has now ($1/dict.$language.txt differs). Give the data of the run, or train it again"
    done
}

# has_gpu: whether there is a GPU and CUDA_VISIBLE_DEVICES does not hide it.
has_gpu() {
    [[ ${CUDA_VISIBLE_DEVICES-0} =~ ^[^-] ]] || return
    [ -e /dev/nvidiactl ] || { nvidia-smi --list-gpus 2>/dev/null || true; } | grep -q .
}

# launcher [OPTION ...]: set train, the training command for --gpus GPUs on each of --nodes machines, and parallel, the
# options that give `batches` times --max-tokens per update on any number of GPUs. OPTIONs are the user's.
launcher() {
    local all first
    case " $* " in *" --save-dir"[\ =]*) die "--save-dir after --: --out names the folder. Leave out --save-dir" ;; esac
    own_modules "$@"
    [[ "$gpus $nodes" =~ ^[1-9][0-9]*\ [1-9][0-9]*$ ]] ||
        die "--gpus $gpus --nodes $nodes: expected whole numbers, at least 1"
    all=$((gpus * nodes))
    [ $((batches % all)) = 0 ] || die "--gpus $gpus --nodes $nodes: an update of this recipe is $batches times \
--max-tokens, which $all GPUs cannot share equally; give numbers whose product divides $batches"
    parallel=(--update-freq $((batches / all)))
    # The recipe's precision only applies to GPUs.
    case " $* " in *" --cpu "*) ;; *) ! has_gpu || parallel+=("${precision[@]}") ;; esac
    if [ "$all" = 1 ]; then
        # By default, fairseq would use every visible GPU, which multiplies the batch size.
        train=(fairseq-train) parallel+=(--distributed-world-size 1)
    elif [ "$nodes" = 1 ]; then
        train=(torchrun --standalone --nproc_per_node "$gpus" -m fairseq_cli.train)
    else
        [ "${SLURM_JOB_NUM_NODES:-}" = "$nodes" ] || die "--nodes $nodes: expected a SLURM job with $nodes nodes, \
found ${SLURM_JOB_NUM_NODES:-none}; see scripts/slurm.sbatch"
        # In the environment, so that the recorded command is the same if SLURM restarts the job on other nodes.
        PET_RDZV_BACKEND=c10d PET_RDZV_ID=$SLURM_JOB_ID
        read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
        PET_RDZV_ENDPOINT=$first:$((20000 + SLURM_JOB_ID % 20000))
        export PET_RDZV_BACKEND PET_RDZV_ID PET_RDZV_ENDPOINT
        train=(srun --ntasks "$nodes" --ntasks-per-node 1 torchrun --nnodes "$nodes" --nproc_per_node "$gpus"
            -m fairseq_cli.train)
    fi
}
