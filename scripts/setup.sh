#!/usr/bin/env bash
# Make the virtual environment that everything here runs in, or mend it, or see that nothing is to be done.
#
#   scripts/setup.sh                      .venv, with the first Python >= 3.11 that runs
#   PYTHON=python3.12 scripts/setup.sh    with this Python
#   LSKD_VENV=dir scripts/setup.sh        in this folder
#   LSKD_SYSTEM_SITE=1 scripts/setup.sh   on top of the packages that the Python has (an installed CUDA build of torch)
#   LSKD_EXTRAS=pipeline scripts/setup.sh with these extras of pyproject.toml (default: dev, all that the tests need)
#   LSKD_WHEELS=dir scripts/setup.sh      of the wheels in this folder alone, all of them and nothing else: no network needed
#
# A torch that is already there is left alone; with LSKD_SYSTEM_SITE=1 so is every package that the Python has, also when
# that Python is a virtual environment's. What pip says goes to setup.log in the environment.
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
# The child may have ended by itself meanwhile.
trap 'if [ -n "$child" ]; then kill "$child" 2>/dev/null || true; fi; printf "\n"; fail "interrupted; run scripts/setup.sh again"' INT TERM

case ${1:-} in
    '') ;;
    --help | -h) sed -n '2,/^$/s/^# \{0,1\}//p' scripts/setup.sh; exit ;;
    *) fail "unknown option $1 (see --help)" ;;
esac

# Everything that an installed environment depends on, in one line.
wanted_stamp() {
    { cat setup.py pyproject.toml constraints.txt _fairseq_lskd_hook.py fairseq_lskd/__init__.py
      pwd
      printf '%s\n' "${LSKD_SYSTEM_SITE:-}" "${LSKD_EXTRAS:-dev}" "$(ls "${LSKD_WHEELS:-/nowhere}" 2>/dev/null)"; } | cksum
}

if [ "$wheels" = missing ]; then fail "LSKD_WHEELS=$LSKD_WHEELS: no such folder"; fi

# What the end of pip's log means to the person at the keyboard.
reason() {
    if grep -q 'No space left on device' "$log"; then
        echo "the disk is full"
    elif grep -qE 'Temporary failure in name resolution|Name or service not known|NewConnectionError|Network is unreachable|ConnectTimeout|Max retries exceeded' "$log"; then
        echo "no connection to the package index (set a proxy or PIP_INDEX_URL, then run this again)"
    elif grep -qE "command '[^']*(gcc|g\+\+|cc|c\+\+|clang)[^']*' failed|Python\.h: No such file|[Uu]nable to find .*compiler" "$log"; then
        echo "fairseq is compiled on installation and needs a C++ compiler and Python's headers (on Debian: g++ python3-dev)"
    elif grep -qE '[Nn]o matching distribution|Could not find a version|ResolutionImpossible' "$log"; then
        echo "the package index has no such version for this Python (see constraints.txt)"
    elif grep -qE 'Permission denied|Read-only file system' "$log"; then
        echo "$venv cannot be written"
    else
        echo "see $log"
    fi
}

# step DESCRIPTION COMMAND...: one line on the screen; the command's own words only if it fails.
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

# Names may be there and yet not run (a pyenv shim of a version that is not chosen), so they are tried.
runs() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Without ensurepip (Debian has it in a package of its own) the system's pip does as well, where we see its packages.
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
    fail "$venv is of Python $(version_of "$python"), PYTHON=$PYTHON is $(version_of "$PYTHON"): remove $venv, or name another folder in LSKD_VENV"
fi

# Removed now, written when all is done: a set-up that was cut short is taken up by the next call.
rm -f "$stamp"
new=
if ! runs "$python" || ! "$python" -m pip --version >/dev/null 2>&1; then
    new=1
    base=$(find_python)
    mkdir -p "$venv" || fail "$venv cannot be made"
    options=(--clear)
    if [ "${LSKD_SYSTEM_SITE:-}" = 1 ]; then options+=(--system-site-packages); fi
    "$base" -c 'import ensurepip' 2>/dev/null || options+=(--without-pip)
    # --clear empties the folder, log included, so the log of this step is elsewhere until it is done.
    log=$(mktemp)
    step "virtual environment $venv (Python $(version_of "$base"))" "$base" -m venv "${options[@]}" "$venv"
    mv "$log" "$venv/setup.log"
    log=$venv/setup.log
fi

site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ "$new" ] && [ "${LSKD_SYSTEM_SITE:-}" = 1 ]; then
    # An environment made by another one's Python sees what is below both, not what the other has.
    "$base" - >"$site/lskd_system.pth" <<'PYTHON'
import sys, sysconfig
if sys.prefix != sys.base_prefix:
    for folder in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        print(f"import site; site.addsitedir({folder!r})")
PYTHON
fi

# Packages of which pip was stopped half-way have no RECORD; pip would take them for installed.
for info in "$site"/*.dist-info; do
    if [ -d "$info" ] && [ ! -f "$info/RECORD" ]; then
        say "removing what is left of $(basename "$info")"
        rm -rf "$info"
    fi
done

pip=("$python" -m pip --disable-pip-version-check --no-input install)
install() {
    # The pins, but for torch where there is one, and for what lies outside of the environment: all of it stays, also
    # where a pin says otherwise, as a torch of another version may want others.
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
        say "torch $("$python" -c 'import importlib.metadata as m; print(m.version("torch"))') is there and stays"
    fi
    step "fairseq_lskd, what it needs and its tools" "${pip[@]}" -c "$constraints" -e ".[$extras]"
    step "fairseq (is compiled)" "${pip[@]}" --no-deps "$(grep '^fairseq==' constraints.txt)"
}
if [ "$wheels" ]; then
    # Without asking what they need, which is theirs to bring: nothing that a wheel's metadata say can stop this.
    "$python" -c 'import importlib.util as u; raise SystemExit(u.find_spec("torch") is None)' ||
        fail "LSKD_WHEELS is for a Python that has torch: name one in PYTHON, with LSKD_SYSTEM_SITE=1"
    pip+=(--no-index --no-deps --find-links "$wheels")
    # setuptools only builds; torch has an opinion on which one is installed.
    mapfile -t chosen < <(find "$wheels" -name '*.whl' ! -name 'setuptools-*' | sort)
    step "${#chosen[@]} wheels of $wheels" "${pip[@]}" "${chosen[@]}"
    step "fairseq_lskd" "${pip[@]}" -e .
else
    install
fi

"$venv/bin/lskd" doctor || fail "installed, but the doctor found something wrong (see above)"
wanted_stamp >"$stamp"
