#!/usr/bin/env bash
# Run tests/compat on every supported Python on this machine, except that of .venv.
#
#   scripts/test_pythons.sh [pytest's options]
#   PYTHONS="3.13" scripts/test_pythons.sh
#   scripts/test_pythons.sh --set-up        only create the environments
#
# Each Python gets its own environment (.venv-3.12, ...), which scripts/setup.sh creates.

. "$(dirname "$0")/lib.sh"
cd "$root"

test=1 status=0
[ "${1:-}" = --set-up ] && { test=0; shift; }
own=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || own=none
for version in ${PYTHONS:-3.11 3.12 3.13}; do
    if [ "$version" = "$own" ] && [ -z "${PYTHONS:-}" ]; then
        echo "Python $version: not tested again, because it is the Python of .venv"
        continue
    fi
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        echo "Python $version: SKIPPED, not found on PATH or among pyenv's versions"
        continue
    fi
    echo "Python $version: $python"
    if PYTHON=$python LSKD_VENV=.venv-$version scripts/setup.sh &&
        { [ $test = 0 ] || ".venv-$version/bin/python" -m pytest tests/compat "$@"; }; then
        [ $test = 0 ] || echo "Python $version: passed"
    else
        echo "Python $version: FAILED" >&2
        status=1
    fi
done
exit $status
