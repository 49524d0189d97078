#!/usr/bin/env bash
# Set up the environment, check style, layers, dependencies, types and documentation, and run the tests.
#
#   scripts/test.sh                   the fast tests, a few minutes
#   scripts/test.sh --all             all tests, tests/compat on the machine's other Pythons, and the GPU rehearsal
#   scripts/test.sh tests/losses -x   pytest with these arguments
#
# End-to-end tests on real text need ../shared/corpora beside the checkout. Without it they are skipped with a message.

. "$(dirname "$0")/lib.sh"
cd "$root"
scripts/setup.sh
PATH=$(cd "${LSKD_VENV:-.venv}" && pwd)/bin:$PATH

all=0
[ "${1:-}" = --all ] && { all=1; shift; }
[ $# = 0 ] || all=0

# beside COMMAND...: run a command at the same time as what follows. joined waits for it, and prints its output.
log='' child=''
trap 'rm -f "$log"; [ -z "$child" ] || kill -- -"$child" 2>/dev/null || true' EXIT # it may have ended
beside() {
    log=$(mktemp)
    # In a process group of its own, which the trap ends with all its children.
    set -m
    "$@" >"$log" 2>&1 &
    child=$!
    set +m
}
joined() {
    local status=0
    wait "$child" || status=$?
    child=''
    cat "$log"
    rm "$log"
    return $status
}

# The checks use one core.
[ $all = 0 ] || beside scripts/test_pythons.sh --set-up
ruff check .
ruff format --check .
lint-imports --no-cache --no-logo
deptry .
mypy
# Every page, every link between pages, and the reference pages generated from the code.
site=$(mktemp -d)
NO_MKDOCS_2_WARNING=1 mkdocs build --site-dir "$site" # with --quiet, warnings would pass
rm -rf "$site"
# One thread per process: the models are tiny, so two processes use the cores better than two threads.
export OMP_NUM_THREADS=1
if [ $# -gt 0 ]; then
    exec pytest "$@"
fi
if [ $all = 0 ]; then
    exec pytest -n 2 -m "not slow"
fi
# Each process takes tests that follow one another, so that few files' fixtures are made in both.
pytest -n 2 --dist worksteal --durations 25
joined
# Two test processes, because the rehearsal ends long before the second Python.
beside scripts/test_pythons.sh -n 2
status=0
scripts/rehearse_gpu.sh || status=1
joined || status=1
exit $status
