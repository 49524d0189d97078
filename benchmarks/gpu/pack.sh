#!/usr/bin/env bash
# Pack everything that a machine with a GPU and no network lacks to run benchmarks/gpu/run.sh.
#
#   benchmarks/gpu/pack.sh                        write to benchmarks/gpu/pack, which git ignores: at most 55 MiB
#   benchmarks/gpu/pack.sh --raw ~/corpora        folder with the corpora europarl-en-fr (a slice is packed) and multi30k
#                                                 (default: ../shared/corpora; without them, a generated bitext)
#   PYTHON=python3.12 benchmarks/gpu/pack.sh      pack wheels for this Python, which must have the version in there.txt
#   ... --out DIR                                 write to another folder
#
# wheels.txt lists what is packed, and there.txt what the machine already has. Packing needs the network. Wheels and
# corpora that are already packed are kept. Copy the checkout to the machine, or only the packed folder: its
# source.tar.gz is the checkout without docs/results.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case " $* " in *" --help "* | *" -h "*) sed -n '2,/^$/s/^# \{0,1\}//p' benchmarks/gpu/pack.sh; exit ;; esac
# PYTHON is for the wheels, not for the checkout's own environment.
python=${PYTHON:-}
unset PYTHON
scripts/setup.sh
PATH=$(cd "${LSKD_VENV:-.venv}" && pwd)/bin:$PATH
PYTHON=$python PYTHONPATH=benchmarks exec python -m gpu.pack "$@"
