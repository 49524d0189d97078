#!/usr/bin/env bash
# Run a command on one GPU of this machine, that with the fewest such commands.
#
#   scripts/on_gpu.sh fairseq-train ...
#
# CUDA_VISIBLE_DEVICES says which GPUs there are to choose from, else nvidia-smi does. Without a GPU, or with one, the
# command just runs.

set -euo pipefail
case ${1-} in --help | -h | '') sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit ;; esac
gpus=${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd, || true)}
IFS=, read -ra gpus <<<"$gpus"
if [ ${#gpus[@]} -gt 1 ]; then
    locks=${TMPDIR:-/tmp}/lskd-gpus-$(id -u)
    mkdir -p "$locks"
    # The first place that is free, of the first row that has one: a lock ends with its process, however that ends.
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
