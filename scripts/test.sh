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
ruff check .
ruff format --check .
lint-imports --no-cache --no-logo
deptry .
mypy
# Every page, every link between pages, and the reference pages generated from the code.
site=$(mktemp -d)
NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --site-dir "$site"
rm -rf "$site"
# One thread per process: the models are tiny, so two processes use the cores better than two threads.
export OMP_NUM_THREADS=1
if [ $# -gt 0 ]; then
    exec pytest "$@"
fi
if [ $all = 0 ]; then
    exec pytest -n 2 -m "not slow"
fi
pytest -n 2
scripts/test_pythons.sh
scripts/rehearse_gpu.sh
