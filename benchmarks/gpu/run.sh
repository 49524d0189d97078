#!/usr/bin/env bash
# Measure everything on a GPU, offline, in at most nine minutes, from what pack.sh packed.
#
#   benchmarks/gpu/run.sh OUT                     rows of every stage in OUT: eight files at most, no folders
#   benchmarks/gpu/run.sh OUT --stages exact,loss some of: exact, loss, students, teachers, experiment
#   benchmarks/gpu/run.sh OUT --rehearse          all of it at toy size on a CPU, in two minutes
#   PYTHON=python3 benchmarks/gpu/run.sh OUT      with this Python, which has torch (default: python3)
#   ... --pack DIR                                what was packed (default: benchmarks/gpu/pack)
#
# Each stage has a time limit of its own and writes each row at once: one that fails or runs out of time takes nothing else
# with it. The environment is .venv-gpu, on top of that Python's packages.

set -euo pipefail
begun=$(date +%s)
calling=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case " $* " in *" --help "* | *" -h "*) sed -n '2,/^$/s/^# \{0,1\}//p' benchmarks/gpu/run.sh; exit ;; esac
python=${PYTHON:-python3}
export PYTHONPATH=benchmarks LSKD_GPU_BEGUN=$begun LSKD_GPU_CALLED_IN=$calling
# Before anything is installed; the last line is the folder of what was packed.
pack=$("$python" -m gpu.check "$@")
# As scripts that the stages call find it, too.
export LSKD_VENV=$PWD/.venv-gpu LSKD_SYSTEM_SITE=1 LSKD_EXTRAS=pipeline LSKD_WHEELS=$pack/wheels PIP_NO_INDEX=1
PYTHON=$python scripts/setup.sh >&2
PATH=$LSKD_VENV/bin:$PATH
exec python -m gpu.run "$@"
