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

# load_recipe NAME: the arrays teacher_model, student_model, training and decoding.
load_recipe() {
    local file=$root/scripts/recipes/$1.sh
    [ -f "$file" ] || die "--recipe $1: expected one of $(cd "$root/scripts/recipes" && echo *.sh | sed 's/\.sh//g')"
    . "$file"
    enter_environment
}

# size NAME: sets model, updates and role from the recipe's NAME_model; teachers are those called teacher or teacher_...
size() {
    declare -p "$1_model" >/dev/null 2>&1 ||
        die "--size $1: the recipe has $(compgen -v | sed -n 's/_model$//p' | sort | paste -sd ' ')"
    local -n chosen=$1_model
    model=("${chosen[@]}") role=${1%%_*}
    updates=$student_updates
    [ "$role" != teacher ] || updates=$teacher_updates
}

# languages DATA: sets src and tgt from what `lskd encode` recorded.
languages() {
    [ -f "$1/pieces/encode.json" ] || die "--data $1: no prepared data there; run scripts/prepare.sh first"
    read -r src tgt < <(python -c '
import json, sys
options = json.load(open(sys.argv[1]))["options"]
print(options["source-lang"], options["target-lang"])' "$1/pieces/encode.json")
}
