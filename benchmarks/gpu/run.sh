#!/usr/bin/env bash
# Measure everything on a GPU, offline, in at most nine minutes, with the folder that pack.sh packed.
#
#   benchmarks/gpu/run.sh OUT                     write the rows of all stages to OUT: at most eight files, no folders
#   benchmarks/gpu/run.sh OUT --stages exact,loss run some stages: exact, loss, students, teachers, experiment
#   benchmarks/gpu/run.sh OUT --rehearse          run everything at toy size on a CPU, in two minutes
#   PYTHON=python3 benchmarks/gpu/run.sh OUT      use this Python, which must have torch (default: python3)
#   ... --pack DIR                                use this packed folder (default: benchmarks/gpu/pack)
#
# Each stage has its own time limit and writes each row at once, so that a failure or timeout does not affect other stages.
# The environment is .venv-gpu, on top of that Python's packages.

set -euo pipefail
begun=$(date +%s)
calling=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case " $* " in *" --help "* | *" -h "*) sed -n '2,/^$/s/^# \{0,1\}//p' benchmarks/gpu/run.sh; exit ;; esac
python=${PYTHON:-python3}
export PYTHONPATH=benchmarks LSKD_GPU_BEGUN=$begun LSKD_GPU_CALLED_IN=$calling
# Check before anything is installed. The output is the packed folder.
pack=$("$python" -m gpu.check "$@")
# Scripts that the stages call use this environment too.
export LSKD_VENV=$PWD/.venv-gpu LSKD_SYSTEM_SITE=1 LSKD_EXTRAS=pipeline LSKD_WHEELS=$pack/wheels PIP_NO_INDEX=1
PYTHON=$python scripts/setup.sh >&2
PATH=$LSKD_VENV/bin:$PATH
exec python -m gpu.run "$@"
