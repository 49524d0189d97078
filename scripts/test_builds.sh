#!/usr/bin/env bash
# Test fairseq's commands, and our commands that build models, with the other builds of fairseq that pip can install.
#
#   scripts/test_builds.sh [pytest's options]
#   BUILDS="ve-fairseq==0.12.3" scripts/test_builds.sh
#
# Each build gets an environment beside .venv (.venv-ve-fairseq, ...), with links to all packages of .venv except fairseq.
# A build without a wheel is compiled once, which takes some minutes. The tests take two to three minutes per build.

. "$(dirname "$0")/lib.sh"
cd "$root"

# make_environment FOLDER BUILD
make_environment() {
    local base there path
    base=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    .venv/bin/python -m venv --clear --without-pip "$1"
    there=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    for path in "$base"/*; do
        case ${path##*/} in
            fairseq | fairseq_cli | fairseq-* | pip | pip-* | __pycache__) ;;
            *) ln -s "$path" "$there/" ;;
        esac
    done
    .venv/bin/python -m pip --python "$1/bin/python" install --quiet --no-deps "$2"
    printf '#!/bin/sh\nexec "%s" -m fairseq_lskd.cli "$@"\n' "$(realpath -s "$1")/bin/python" >"$1/bin/lskd"
    chmod +x "$1/bin/lskd"
}

status=0
for build in ${BUILDS:-fairseq-fixed==0.12.3.1 ve-fairseq==0.12.3}; do
    folder=.venv-${build%%==*}
    if make_environment "$folder" "$build" && "$folder/bin/lskd" doctor >"$folder/doctor.txt" &&
        PATH=$PWD/$folder/bin:$PATH "$folder/bin/python" -m pytest -q tests/compat/test_commands.py \
            tests/test_user_dir.py "$@"; then
        echo "$build: passed"
    else
        echo "$build: FAILED" >&2
        status=1
    fi
done
exit $status
