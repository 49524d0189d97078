#!/usr/bin/env bash
# Does an experiment from a clean clone, killed twice on the way, end in the same table as one that was left alone?
#
#   scripts/check_experiment.sh                           methods at the scale smoke
#   scripts/check_experiment.sh --experiment quickstart --scale small --raw DIR
#   ... --kill-after 90                                   seconds until each kill
#   ... --clone DIR                                       a folder to make and to keep (default: a temporary one)
#
# It clones what is committed here, sets the clone up, runs the experiment there with two kills (signal 9, to all of it),
# then once more without; and compares all rows but for times. Nothing of this checkout is used or changed.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
experiment=methods scale=smoke after=90 clone='' raw=''
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --experiment) experiment=$2; shift 2 ;;
        --scale) scale=$2; shift 2 ;;
        --kill-after) after=$2; shift 2 ;;
        --clone) clone=$2; shift 2 ;;
        --raw) raw=$2; shift 2 ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
done
if [ -z "$clone" ]; then
    clone=$(mktemp -d)/lskd
    trap 'rm -rf "$(dirname "$clone")"' EXIT
fi
[ ! -e "$clone" ] || die "--clone $clone is there already"

git clone --quiet --no-hardlinks "$root" "$clone"
unset LSKD_VENV VIRTUAL_ENV
"$clone/scripts/setup.sh"
call=("$clone/scripts/experiment.sh" "$experiment" --scale "$scale" ${raw:+--raw "$raw"})
set -m # each run is a process group, to be killed as a whole
for kill in 1 2; do
    "${call[@]}" --directory "$clone/killed" >"$clone/killed-$kill.log" 2>&1 &
    pid=$!
    for ((second = 0; second < after; second++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 1
    done
    kill -KILL -- "-$pid" 2>/dev/null || die "it had ended before the kill; give a smaller --kill-after"
    wait "$pid" 2>/dev/null || true
    echo "killed after $after s: $(grep -c '^\[.*\]$' "$clone/killed-$kill.log" || true) events in $clone/killed-$kill.log"
done
set +m
"${call[@]}" --directory "$clone/killed"
"${call[@]}" --directory "$clone/whole" >"$clone/whole.log" 2>&1 || die "the second run failed, see $clone/whole.log"

"$clone/.venv/bin/python" -m fairseq_lskd.records.untimed "$clone"/killed/runs/*/results/*/results.json \
    "$clone"/whole/runs/*/results/*/results.json
