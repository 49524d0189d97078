#!/usr/bin/env bash
# Gather into one folder what a machine with a GPU and no network lacks, to run benchmarks/gpu/run.sh there.
#
#   benchmarks/gpu/pack.sh                        into benchmarks/gpu/pack, which git ignores: 55 MiB at most
#   benchmarks/gpu/pack.sh --raw ~/corpora        with the corpora in this folder (default: ../shared/corpora): of
#                                                 europarl-en-fr a slice, and multi30k. Without them: a generated bitext
#   PYTHON=python3.12 benchmarks/gpu/pack.sh      wheels for this Python, of the version in there.txt
#   ... --out DIR                                 another folder
#
# wheels.txt says what is packed, there.txt what the machine has already. The network is needed here. What is packed
# already stays. Take the checkout to the machine, or the folder alone: source.tar.gz in it is the checkout.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case " $* " in *" --help "* | *" -h "*) sed -n '2,/^$/s/^# \{0,1\}//p' benchmarks/gpu/pack.sh; exit ;; esac
# Not the Python of the checkout's own environment.
python=${PYTHON:-}
unset PYTHON
scripts/setup.sh
PATH=$(cd "${LSKD_VENV:-.venv}" && pwd)/bin:$PATH
PYTHON=$python PYTHONPATH=benchmarks exec python -m gpu.pack "$@"
