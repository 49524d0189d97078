#!/usr/bin/env bash
# From nothing to a table: teachers with and without label smoothing, students of each, all scored.
#
#   scripts/quickstart.sh                                   a generated bitext; 20 minutes of processor time
#   scripts/quickstart.sh --corpus multi30k                 Multi30k de-en, downloaded; forty minutes
#   scripts/quickstart.sh --corpus multi30k --raw DIR       the same from {train,val,test_2016_flickr}.{de,en}[.gz]
#   ... --name NAME                                         results in runs/NAME (default: the corpus' name)
#
# Call it again and it goes on where it was stopped. It is the experiment experiments/quickstart.yaml, which
# scripts/experiment.sh runs; the table is also in runs/NAME/results/quickstart.

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
        *) die "unknown option $1 (see --help)" ;;
    esac
done
[ -z "$raw" ] || [ "$corpus" = multi30k ] || die "--raw goes with --corpus multi30k only"
case $corpus in
    generated) scale=smoke ;;
    multi30k) scale=small ;;
    *) die "--corpus $corpus: expected generated or multi30k" ;;
esac
exec "$here/experiment.sh" quickstart --scale "$scale" ${name:+--name "$name"} ${raw:+--raw "$raw"}
