#!/usr/bin/env bash
# Run tests/compat on every supported Python on this machine, except that of .venv.
#
#   scripts/test_pythons.sh [pytest's options]
#   PYTHONS="3.13" scripts/test_pythons.sh
#
# Each Python gets its own environment (.venv-3.12, ...), which scripts/setup.sh creates.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case " $* " in *" --help "* | *" -h "*) sed -n '2,/^$/s/^# \{0,1\}//p' scripts/test_pythons.sh; exit ;; esac

# On PATH, or any version that pyenv has installed.
find_python() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c "import sys; raise SystemExit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

status=0
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
        ".venv-$version/bin/python" -m pytest tests/compat "$@"; then
        echo "Python $version: passed"
    else
        echo "Python $version: FAILED" >&2
        status=1
    fi
done
exit $status
