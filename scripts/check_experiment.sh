#!/usr/bin/env bash
# Check that an experiment in a clean clone gives the same table if it is killed twice and resumed as if it is not killed.
#
#   scripts/check_experiment.sh                           the experiment methods at the scale smoke
#   scripts/check_experiment.sh --experiment quickstart --scale small --raw DIR
#   ... --kill-after 90                                   seconds before each kill (default: 90)
#   ... --clone DIR                                       folder for the clone, which is kept (default: a temporary one)
#
# It clones the commits of this checkout and sets up the clone. It runs the experiment there, kills it twice (with signal
# 9, all processes), and lets it finish. It then runs the experiment in another folder without kills, and compares all
# rows except for times. It does not use or change uncommitted files of this checkout.

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
        *) unknown_option "$1" "(see --help)" ;;
    esac
done
if [ -z "$clone" ]; then
    clone=$(mktemp -d)/lskd
    trap 'rm -rf "$(dirname "$clone")"' EXIT
fi
[ ! -e "$clone" ] || die "--clone $clone exists already; name a new folder"

git clone --quiet --no-hardlinks "$root" "$clone"
unset LSKD_VENV VIRTUAL_ENV
"$clone/scripts/setup.sh"
call=("$clone/scripts/experiment.sh" "$experiment" --scale "$scale" ${raw:+--raw "$raw"})
set -m # each run is a process group, which can be killed as a whole
for kill in 1 2; do
    "${call[@]}" --directory "$clone/killed" >"$clone/killed-$kill.log" 2>&1 &
    pid=$!
    for ((second = 0; second < after; second++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 1
    done
    kill -KILL -- "-$pid" 2>/dev/null || die "the experiment ended before the kill after $after s; give a smaller --kill-after"
    wait "$pid" 2>/dev/null || true
    echo "killed after $after s: $(grep -c '^\[.*\]$' "$clone/killed-$kill.log" || true) events in $clone/killed-$kill.log"
done
set +m
"${call[@]}" --directory "$clone/killed"
"${call[@]}" --directory "$clone/whole" >"$clone/whole.log" 2>&1 || die "the run without kills failed, see $clone/whole.log"

"$clone/.venv/bin/python" -m fairseq_lskd.records.untimed "$clone"/killed/runs/*/results/*/results.json \
    "$clone"/whole/runs/*/results/*/results.json
