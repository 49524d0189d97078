#!/usr/bin/env bash
# Distil a student at sequence level: the teacher translates the training side, the student learns from that.
#
#   scripts/distill_seq.sh --data data/multi30k --teacher runs/mine/teacher-0.1/checkpoint_average.pt --out runs/mine/seq-0.1
#   ... --reference-weight 0.3                            add the references, with this share of the loss
#   ... --teacher-smoothing 0.1                           only a label for the table of results
#   ... --gpus 8                                          by torchrun, with the same tokens in an update
#   ... --nodes 4 --gpus 8                                in a SLURM job: see scripts/slurm.sbatch
#   ... -- --max-update 5000                              what follows -- goes to fairseq-train
#
# The model is OUT/checkpoint_average.pt; the teacher's translations and what was selected of them are in OUT-data.

. "$(dirname "$0")/lib.sh"
data='' out='' teacher='' recipe=multi30k share='' seed=1 labels=() gpus=1 nodes=1
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=${2%/}; shift 2 ;;
        --teacher) teacher=$2; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --reference-weight) share=$2; shift 2 ;;
        --teacher-smoothing) labels=(--label "teacher_smoothing=$2"); shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --gpus) gpus=$2; shift 2 ;;
        --nodes) nodes=$2; shift 2 ;;
        --) shift; break ;;
        *) die "unknown option $1 (see --help; options for fairseq-train go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
need "$teacher" --teacher
load_recipe "$recipe"
languages "$data"
launcher "${student_batches:-$batches}" "$@"
pieces=$data/pieces made=$out-data
selected=$made/selected
mixture=()
[ -z "$share" ] || mixture=(--reference-weight "$share")

lskd translate "$pieces/train.$src" --teacher-path "$teacher" --out "$made/nbest.jsonl" --max-len-a 1.2 --max-len-b 10
lskd select "$made/nbest.jsonl" -s "$src" -t "$tgt" --references "$pieces/train.$tgt" --on-empty reference \
    --remove-bpe "$scheme" ${share:+--add-references 0.5} --student-data "$data/bin" --out "$selected"
lskd run --out "$out" --label role=student --label method=sequence "${labels[@]}" \
    --input "$selected/select.json" --input "$selected/train.weights.npz" --input "$data/pieces/encode.json" -- \
    "${train[@]}" "$selected/data-bin" -s "$src" -t "$tgt" --user-dir "$user_dir" \
    --criterion seq_kd --sequence-weights "$selected/train.weights.npz" "${mixture[@]}" \
    "${student_model[@]}" "${training[@]}" "${parallel[@]}" --max-update "$student_updates" --seed "$seed" \
    --save-dir "$out" --log-format json --log-interval 20 "$@"
lskd average "$out" --last "$average"
