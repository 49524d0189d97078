#!/usr/bin/env bash
# Translate the training sources with a teacher, once for all its students at sequence level.
#
#   scripts/translate.sh --data data/multi30k --teacher runs/mine/teacher-0.1/checkpoint_average.pt --out runs/mine/nbest.jsonl
#   ... --nbest 5                                         hypotheses per sentence (default: 1)
#   ... -- --compute-type float32 --threads 4             options after -- are passed to `lskd translate`
#
# `scripts/distill_seq.sh --translations OUT` trains a student on the translations.

. "$(dirname "$0")/lib.sh"
data='' out='' teacher='' nbest=1
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=$2; shift 2 ;;
        --teacher) teacher=$2; shift 2 ;;
        --nbest) nbest=$2; shift 2 ;;
        --) shift; break ;;
        *) unknown_option "$1" "(see --help; options for lskd translate go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
need "$teacher" --teacher
enter_environment
languages "$data"

lskd translate "$data/pieces/train.$src" --teacher-path "$teacher" --out "$out" --nbest "$nbest" \
    --max-len-a 1.2 --max-len-b 10 "$@"
