#!/usr/bin/env bash
# Redraw every committed table and figure from the raw rows beside it.
#
#   scripts/redraw.sh
#
# - docs/results/NAME.json and docs/results/NAME/results.json: a table (.md) and a figure of quality against size and
#   speed (.svg). Experiments, which have a folder, also get differences.md and their training curves (.svg).
# - benchmarks/results: the tables and figures of docs/benchmarks.md.
# - docs/results/vision: the page of the image experiments.
#
# docs/results/analysis is not redrawn: `lskd analyze` needs the models. `git diff` shows no change if no rows changed.

. "$(dirname "$0")/lib.sh"
cd "$root"
scripts/setup.sh
PATH=$(cd "${LSKD_VENV:-.venv}" && pwd)/bin:$PATH

shopt -s nullglob
for rows in docs/results/*.json docs/results/*/results.json; do
    name=$(basename "${rows%/results.json}" .json)
    lskd table "$rows" --over-seeds --title "$name" --write "${rows%.json}.md" --plot "${rows%.json}.svg" >/dev/null
    echo "${rows%.json}.md, .svg"
done
for rows in docs/results/*/results.json; do
    folder=$(dirname "$rows")
    lskd table "$rows" --differences --write "$folder/differences.md" >/dev/null
    lskd curves --from "$folder/curves.csv" --plot "$folder/curves.svg" >/dev/null
    echo "$folder/differences.md, curves.svg"
done
for rows in docs/results/*/tests/*/results.json; do
    folder=$(dirname "$rows")
    lskd table "$rows" --over-seeds --write "$folder/table.md" >/dev/null
    lskd table "$rows" --differences --write "$folder/differences.md" >/dev/null
    echo "$folder/table.md, differences.md"
done
python examples/vision/distil.py --redraw docs/results/vision
python benchmarks/plot.py
echo "docs/benchmarks.md, docs/figures"
