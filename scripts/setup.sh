#!/usr/bin/env bash
# Create, update or repair the virtual environment. If it is up to date, do nothing.
#
#   scripts/setup.sh                      create .venv with the first Python >= 3.11 that works
#   PYTHON=python3.12 scripts/setup.sh    use this Python
#   LSKD_VENV=dir scripts/setup.sh        create the environment in this folder
#   LSKD_SYSTEM_SITE=1 scripts/setup.sh   use the packages that the Python has (such as an installed CUDA build of torch)
#   LSKD_EXTRAS=pipeline scripts/setup.sh install these extras of pyproject.toml (default: dev, all that the tests need)
#   LSKD_WHEELS=dir scripts/setup.sh      install all wheels in this folder and nothing else, without a network
#
# An installed torch is kept. With LSKD_SYSTEM_SITE=1 every package of the Python is kept, even if that Python belongs to a
# virtual environment. The output of pip is in setup.log in the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${LSKD_VENV:-.venv}
python=$venv/bin/python
log=$venv/setup.log
stamp=$venv/.lskd-stamp
constraints=$venv/constraints.txt
extras=${LSKD_EXTRAS:-dev}
wheels=${LSKD_WHEELS:+$(cd "$LSKD_WHEELS" 2>/dev/null && pwd)} || wheels=missing
child=

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: error: %s\n' "$*" >&2
    exit 1
}
# The child process may already have ended.
trap 'if [ -n "$child" ]; then kill "$child" 2>/dev/null || true; fi; printf "\n"; fail "interrupted; run scripts/setup.sh again"' INT TERM

case ${1:-} in
    '') ;;
    --help | -h) sed -n '2,/^$/s/^# \{0,1\}//p' scripts/setup.sh; exit ;;
    *) fail "unknown option $1 (see --help)" ;;
esac

# A checksum of everything that an installed environment depends on.
wanted_stamp() {
    { cat setup.py pyproject.toml constraints.txt _fairseq_lskd_hook.py fairseq_lskd/__init__.py
      pwd
      printf '%s\n' "${LSKD_SYSTEM_SITE:-}" "${LSKD_EXTRAS:-dev}" "$(ls "${LSKD_WHEELS:-/nowhere}" 2>/dev/null)"; } | cksum
}

if [ "$wheels" = missing ]; then fail "LSKD_WHEELS=$LSKD_WHEELS: no such folder"; fi

# Explain the error in pip's log.
reason() {
    # Not every program says that the disk is full.
    if grep -q 'No space left on device' "$log" || [ "$(df -Pk "$venv" | awk 'END { print $4 }')" -lt 1024 ]; then
        echo "the disk is full"
    elif grep -qE 'Temporary failure in name resolution|Name or service not known|NewConnectionError|Network is unreachable|ConnectTimeout|Max retries exceeded' "$log"; then
        echo "no connection to the package index (set a proxy or PIP_INDEX_URL, then run this again)"
    elif grep -qE "command '[^']*(gcc|g\+\+|cc|c\+\+|clang)[^']*' failed|Python\.h: No such file|[Uu]nable to find .*compiler" "$log"; then
        echo "fairseq is compiled on installation and needs a C++ compiler and Python's headers (on Debian: g++ python3-dev)"
    elif grep -qE '[Nn]o matching distribution|Could not find a version|ResolutionImpossible' "$log"; then
        local named
        named=$(grep -oE '(found for|the requirement|requested \(constraint\)) [^ ,]+' "$log" | sed 's/.* //' | sort -u | paste -sd ' ')
        echo "the package index has no such version of ${named:-a package} for this Python (see constraints.txt)"
    elif grep -qE 'Permission denied|Read-only file system' "$log"; then
        echo "$venv is not writable"
    else
        echo "see $log"
    fi
}

# step DESCRIPTION COMMAND...: print one line; show the command's output only if it fails.
step() {
    local what=$1 begun=$SECONDS ticks=0
    shift
    printf 'setup: %s ' "$what"
    printf '\n== %s: %s\n' "$what" "$*" >"$log.step"
    "$@" >>"$log.step" 2>&1 &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        ticks=$((ticks + 1))
        if [ $((ticks % 25)) -eq 0 ]; then printf '.'; fi
    done
    local status=0
    wait "$child" || status=$?
    child=
    if [ "$status" -ne 0 ]; then
        printf ' FAILED (status %s)\n' "$status"
        tail -n 20 "$log.step" >&2
        mv "$log.step" "$log"
        fail "$what: $(reason)"
    fi
    cat "$log.step" >>"$log"
    rm -f "$log.step"
    printf ' done (%s s)\n' $((SECONDS - begun))
}

version_of() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null; }

# A command may exist and yet not run (a pyenv shim of a version that is not selected), so try it.
runs() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Without ensurepip (a separate package on Debian), the system's pip also works if its packages are visible.
makes_venvs() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        { [ "${LSKD_SYSTEM_SITE:-}" = 1 ] && "$1" -c 'import pip, venv' 2>/dev/null; }
}

find_python() {
    local name without_venv=
    if [ -n "${PYTHON:-}" ]; then
        runs "$PYTHON" || fail "PYTHON=$PYTHON does not run or is older than 3.11"
        makes_venvs "$PYTHON" ||
            fail "PYTHON=$PYTHON cannot make virtual environments (on Debian: install python3-venv)"
        echo "$PYTHON"
        return
    fi
    for name in python3.11 python3.12 python3.13 python3; do
        if runs "$name"; then
            if makes_venvs "$name"; then
                echo "$name"
                return
            fi
            without_venv=$name
        fi
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv cannot make virtual environments (on Debian: install python3-venv)"
    fi
    fail "no Python >= 3.11 was found (tried python3.11, python3.12, python3.13 and python3); name one in PYTHON"
}

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted_stamp)" ] && "$python" -c '' 2>/dev/null; then
    if [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$python")" ]; then
        say "$venv is up to date"
        exit 0
    fi
fi

if [ -n "${PYTHON:-}" ] && runs "$python" && [ "$(version_of "$PYTHON")" != "$(version_of "$python")" ]; then
    fail "$venv has Python $(version_of "$python"), but PYTHON=$PYTHON is $(version_of "$PYTHON"): remove $venv, or name another folder in LSKD_VENV"
fi

# An environment has the package of one checkout.
owner=$venv/.lskd-checkout
if [ -f "$owner" ] && [ "$(cat "$owner")" != "$(pwd)" ]; then
    say "$venv had the package of $(cat "$owner"), and now gets that of $(pwd)"
fi

# The stamp is written again at the end, so that the next call completes an interrupted set-up.
rm -f "$stamp"
new=
if ! runs "$python" || ! "$python" -m pip --version >/dev/null 2>&1; then
    new=1
    base=$(find_python)
    mkdir -p "$venv" || fail "$venv cannot be created"
    options=(--clear)
    if [ "${LSKD_SYSTEM_SITE:-}" = 1 ]; then options+=(--system-site-packages); fi
    "$base" -c 'import ensurepip' 2>/dev/null || options+=(--without-pip)
    # --clear empties the folder, log included, so the log of this step is in another place until the step is done.
    log=$(mktemp)
    step "virtual environment $venv (Python $(version_of "$base"))" "$base" -m venv "${options[@]}" "$venv"
    mv "$log" "$venv/setup.log"
    log=$venv/setup.log
fi

site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ "$new" ] && [ "${LSKD_SYSTEM_SITE:-}" = 1 ]; then
    # If the Python belongs to another environment, --system-site-packages does not show the packages of that one.
    "$base" - >"$site/lskd_system.pth" <<'PYTHON'
import sys, sysconfig
if sys.prefix != sys.base_prefix:
    for folder in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        print(f"import site; site.addsitedir({folder!r})")
PYTHON
fi

# Packages from an interrupted installation have no RECORD, and pip would treat them as installed.
for info in "$site"/*.dist-info; do
    if [ -d "$info" ] && [ ! -f "$info/RECORD" ]; then
        say "removing the incomplete $(basename "$info")"
        rm -rf "$info"
    fi
done

pip=("$python" -m pip --disable-pip-version-check --no-input install)
install() {
    # All pins except for an installed torch and for packages outside of the environment. These are kept in any version,
    # because another version of torch may need other versions of them.
    "$python" - constraints.txt >"$constraints" <<'PYTHON'
import importlib.metadata, re, sys
from pathlib import Path
def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()
stays = set()
for found in importlib.metadata.distributions():
    name = plain(found.metadata["Name"] or "")
    if name == "torch" or not Path(str(found.locate_file(""))).resolve().is_relative_to(Path(sys.prefix).resolve()):
        stays.add(name)
for line in Path(sys.argv[1]).read_text().splitlines():
    if plain(line.partition("==")[0]) not in stays:
        print(line)
PYTHON
    if grep -q '^torch==' "$constraints"; then
        step "torch (the largest download)" "${pip[@]}" -c "$constraints" torch
    else
        say "torch $("$python" -c 'import importlib.metadata as m; print(m.version("torch"))') is installed and kept"
    fi
    step "fairseq_lskd, its dependencies and tools" "${pip[@]}" -c "$constraints" -e ".[$extras]"
    step "fairseq (compiled from source)" "${pip[@]}" --no-deps "$(grep '^fairseq==' constraints.txt)"
}
if [ "$wheels" ]; then
    # Without checking dependencies: the folder must be complete, and metadata of wheels must not stop the installation.
    "$python" -c 'import importlib.util as u; raise SystemExit(u.find_spec("torch") is None)' ||
        fail "LSKD_WHEELS needs a Python with torch: name one in PYTHON, with LSKD_SYSTEM_SITE=1"
    pip+=(--no-index --no-deps --find-links "$wheels")
    # setuptools is only for building, and torch depends on the installed version.
    mapfile -t chosen < <(find "$wheels" -name '*.whl' ! -name 'setuptools-*' | sort)
    step "${#chosen[@]} wheels of $wheels" "${pip[@]}" "${chosen[@]}"
    step "fairseq_lskd" "${pip[@]}" -e .
else
    install
fi

if ! report=$("$venv/bin/lskd" doctor); then
    printf '%s\n' "$report"
    fail "installed, but \`lskd doctor\` found a problem (see above)"
fi
say "$(tail -n 1 <<<"$report") (\`lskd doctor\` lists versions and patches)"
pwd >"$owner"
wanted_stamp >"$stamp"
