#!/usr/bin/env bash
# Rehearse benchmarks/gpu/run.sh in an environment like that of the machine with the GPU, without a GPU.
#
#   scripts/rehearse_gpu.sh
#
# The environment has only the packages in benchmarks/gpu/there.txt and no network, so the files that pack.sh packs must be
# enough. It is kept in ~/.cache/fairseq_lskd/like-gpu (4.7 GB, because pip's torch for Linux includes CUDA), or in the
# folder that LSKD_LIKE_GPU names. Without Python 3.12, the rehearsal is skipped with a message.

. "$(dirname "$0")/lib.sh"
cd "$root"
there=benchmarks/gpu/there.txt
version=$(sed -n 's/^python==//p' "$there")
base=${LSKD_LIKE_GPU:-${XDG_CACHE_HOME:-$HOME/.cache}/fairseq_lskd/like-gpu}
python=$(find_python "$version")
if [ -z "$python" ]; then
    echo "rehearsal: SKIPPED, no Python $version on PATH or among pyenv's versions"
    exit
fi
begun=$SECONDS
if [ "$(cat "$base/stamp" 2>/dev/null)" != "$(cat "$there")" ]; then
    echo "rehearsal: creating an environment like that of the GPU machine in $base (only once)"
    rm -rf "$base"
    mkdir -p "$base"
    "$python" -m venv "$base"
    # Without byte-compiling, which would take longer than the rehearsal saves.
    grep -v '^\(#\|python==\)' "$there" |
        "$base/bin/python" -m pip --disable-pip-version-check install --quiet --no-compile -r /dev/stdin
    cp "$there" "$base/stamp"
fi
echo "rehearsal: packing"
PYTHON=$python benchmarks/gpu/pack.sh
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
echo "rehearsal: $((SECONDS - begun)) s so far"
# No package index, and none of the user's pip settings.
PIP_NO_INDEX=1 PIP_FIND_LINKS='' PIP_CONFIG_FILE=/dev/null CUDA_VISIBLE_DEVICES='' PYTHON=$base/bin/python \
    benchmarks/gpu/run.sh "$out" --rehearse || { echo "rehearsal: FAILED" >&2; exit 1; }
echo "rehearsal: passed, $((SECONDS - begun)) s"
