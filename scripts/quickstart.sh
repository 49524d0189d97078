#!/usr/bin/env bash
# Train teachers with and without label smoothing and students of each, score all of them, and print a table.
#
#   scripts/quickstart.sh                                   a generated bitext; about 10 minutes on two cores
#   scripts/quickstart.sh --corpus multi30k                 Multi30k de-en, downloaded; 1.5 to 3 hours of CPU time
#   scripts/quickstart.sh --corpus multi30k --raw DIR       the same from {train,val,test_2016_flickr}.{de,en}[.gz] in DIR
#   ... --name NAME                                         work in runs/NAME (default: quickstart, or multi30k)
#
# If it is stopped, call it again to continue. It runs experiments/quickstart.yaml with scripts/experiment.sh. The table
# is also in runs/NAME/results/quickstart.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

corpus=generated raw='' name=''
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --corpus) corpus=$2; shift 2 ;;
        --raw) raw=$2; shift 2 ;;
        --name) name=$2; shift 2 ;;
        *) unknown_option "$1" "(see --help)" ;;
    esac
done
[ -z "$raw" ] || [ "$corpus" = multi30k ] || die "--raw is only allowed with --corpus multi30k"
case $corpus in
    generated) scale=smoke ;;
    multi30k) scale=small ;;
    *) die "--corpus $corpus: expected generated or multi30k" ;;
esac
exec "$here/experiment.sh" quickstart --scale "$scale" ${name:+--name "$name"} ${raw:+--raw "$raw"}
