#!/usr/bin/env bash
# Run a command on one GPU of this machine: the one on which this script runs the fewest commands.
#
#   scripts/on_gpu.sh fairseq-train ...
#
# It chooses among the GPUs in CUDA_VISIBLE_DEVICES or, if that is not set, those that nvidia-smi lists. With one GPU or
# none, it runs the command unchanged.

set -euo pipefail
case ${1-} in --help | -h | '') sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit ;; esac
gpus=${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd, || true)}
IFS=, read -ra gpus <<<"$gpus"
if [ ${#gpus[@]} -gt 1 ]; then
    locks=${TMPDIR:-/tmp}/lskd-gpus-$(id -u)
    mkdir -p "$locks"
    # Take the first free lock. Row n holds the n-th command of each GPU. A lock is released when its process ends.
    for row in {1..64}; do
        for gpu in "${gpus[@]}"; do
            exec 9>"$locks/$gpu.$row"
            if flock -n 9; then
                export CUDA_VISIBLE_DEVICES=$gpu
                exec "$@"
            fi
        done
    done
fi
exec "$@"
