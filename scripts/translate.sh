#!/usr/bin/env bash
# Translate the training side with a teacher, once, for all students of it at sequence level.
#
#   scripts/translate.sh --data data/multi30k --teacher runs/mine/teacher-0.1/checkpoint_average.pt --out runs/mine/nbest.jsonl
#   ... --nbest 5                                         hypotheses a sentence
#   ... -- --compute-type float32 --threads 4             what follows -- goes to `lskd translate`
#
# `scripts/distill_seq.sh --translations OUT` trains on it.

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
        *) die "unknown option $1 (see --help; options for lskd translate go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
need "$teacher" --teacher
enter_environment
languages "$data"

lskd translate "$data/pieces/train.$src" --teacher-path "$teacher" --out "$out" --nbest "$nbest" \
    --max-len-a 1.2 --max-len-b 10 "$@"
