#!/usr/bin/env bash
# Set up, check style, layers, dependencies, types and the documentation, run the tests.
#
#   scripts/test.sh                   the fast suite, a few minutes
#   scripts/test.sh --all             also the slow tests, compat on the other Pythons of the machine, and the GPU rehearsal
#   scripts/test.sh tests/losses -x   what pytest is given
#
# End-to-end tests on real text want ../shared/corpora beside the checkout; without it they are skipped by name.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case " $* " in *" --help "* | *" -h "*) sed -n '2,/^$/s/^# \{0,1\}//p' "scripts/$(basename "$0")"; exit ;; esac
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
# A thread a process: the models are tiny, and two processes share the cores better than two threads.
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
