#!/usr/bin/env bash
# Distil a student at sequence level: the teacher translates the training sources, and the student learns from them.
#
#   scripts/distill_seq.sh --data data/multi30k --teacher runs/mine/teacher-0.1/checkpoint_average.pt --out runs/mine/seq-0.1
#   ... --translations runs/mine/nbest.jsonl              translations by `lskd translate`, instead of --teacher
#   ... --selected data/mono/selected                     training data by `lskd select` with --student-data DATA/bin (for
#                                                         example from monolingual text), instead of --teacher
#   ... --strategy n-best --score-temperature 0.05        translations to learn from: 1-best (default); nearest to the
#                                                         reference, n-best, mbr or mbr-n of five: see `lskd select --help`
#   ... --samples 16 --strategy mbr-n                     draw 16 samples per sentence, instead of a beam search, and
#                                                         learn from the five best by minimum Bayes risk
#   ... --backward runs/mine/back/checkpoint_average.pt   leave out translations from which this model of the other direction
#                                                         (train_teacher.sh --direction) cannot predict the source; their
#                                                         references take the place of sentences without a translation
#   ... --backward back.pt --filter-worst 0.1             share of the translations to leave out (default: 0.05)
#   ... --word-level teacher.pt --kd-weight 0.5 --kd-temperature 1    add the word-level loss of this teacher, which has the
#                                                         vocabulary of --data
#   ... --word-level teacher.pt --cache-top-k 16          the same from a cache of its top-16 types, written to OUT-data
#   ... --word-level teacher.pt --cache-bytes 48          the same from an unbiased cache of 48 bytes per token
#   ... --teacher-data data/big                           for a teacher with another vocabulary: the same text, prepared in
#                                                         its pieces. The student has those of --data
#   ... --valid-translations runs/mine/valid.jsonl        translations of the validation sources, by `lskd translate`: their
#                                                         loss picks the best checkpoint and stops the training early
#   ... --reference-weight 0.3                            add the references, with this share of the loss (default: none)
#   ... --teacher-smoothing 0.1 --teacher-size teacher    optional: labels, compared with the teacher
#   ... --recipe wmt14-en-de-base                         sizes and training options: a name in scripts/recipes, or a file
#                                                         (default: multi30k)
#   ... --size student_small                              a size of the recipe (default: student)
#   ... --seed 2                                          random seed (default: 1)
#   ... --validation-metric loss                          metric for the best checkpoint and for early stopping, loss or
#                                                         bleu (default: the recipe's)
#   ... --gpus 8                                          number of GPUs, for torchrun; tokens per update stay the same
#   ... --nodes 4 --gpus 8                                number of machines, in a SLURM job: see scripts/slurm.sbatch
#   ... -- --max-update 5000                              options after -- are passed to fairseq-train
#   ... -- --user-dir mine --arch of_mine                 your own modules: see docs/own-modules.md
#
# To train longer, give a larger --max-update after --. A recipe with a cosine schedule, whose learning rate depends on the
# end, needs a new --out for it; others continue in the same folder.
#
# The model is OUT/checkpoint_average.pt. OUT-data holds the teacher's translations and the training data from them, or with
# --selected only the cache.

. "$(dirname "$0")/lib.sh"
data='' out='' teacher='' recipe=multi30k share='' seed=1 size=student labels=() gpus=1 nodes=1 metric=''
translations='' samples='' strategy=1-best score_temperature=1.0 word_level='' weight='' temperature='' top_k='' bytes='' valid_translations=''
teacher_data='' given='' foreign=() backward='' worst='' filter=() told=()
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --out) out=${2%/}; shift 2 ;;
        --teacher) teacher=$2; shift 2 ;;
        --teacher-data) teacher_data=${2%/}; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --translations) translations=$2; shift 2 ;;
        --selected) given=${2%/}; shift 2 ;;
        --valid-translations) valid_translations=$2; shift 2 ;;
        --samples) samples=$2; shift 2 ;;
        --strategy) strategy=$2; shift 2 ;;
        --score-temperature) score_temperature=$2; shift 2 ;;
        --backward) backward=$2; shift 2 ;;
        --filter-worst) worst=$2; shift 2 ;;
        --word-level) word_level=$2; shift 2 ;;
        --cache-top-k) top_k=$2; shift 2 ;;
        --cache-bytes) bytes=$2; shift 2 ;;
        --kd-weight) weight=$2; shift 2 ;;
        --kd-temperature) temperature=$2; shift 2 ;;
        --reference-weight) share=$2; shift 2 ;;
        --teacher-smoothing) told+=("teacher_smoothing=$2"); shift 2 ;;
        --teacher-size) told+=("teacher_size=$2"); shift 2 ;;
        --size) size=$2; shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        --validation-metric) metric=$2; shift 2 ;;
        --gpus) gpus=$2; shift 2 ;;
        --nodes) nodes=$2; shift 2 ;;
        --) shift; break ;;
        *) unknown_option "$1" "(see --help; options for fairseq-train go after --)" ;;
    esac
done
need "$data" --data
need "$out" --out
need "$teacher$translations$given" "--teacher, --translations or --selected"
[ -z "$teacher" ] || [ -z "$translations" ] ||
    die "--teacher $teacher --translations $translations: expected one of them; --word-level names the teacher of the word-level loss"
[ -n "$word_level" ] || [ -z "$weight$temperature$top_k$bytes" ] ||
    die "--kd-weight, --kd-temperature, --cache-top-k and --cache-bytes are for the word-level loss: give its teacher with --word-level, or leave them out"
case $strategy in
    1-best | nearest | n-best | mbr | mbr-n) ;;
    *) die "--strategy $strategy: expected 1-best, nearest, n-best, mbr or mbr-n" ;;
esac
[[ $score_temperature =~ ^1(\.0*)?$ ]] || [ "$strategy" = n-best ] ||
    die "--score-temperature $score_temperature has no effect with --strategy $strategy: give --strategy n-best, or leave it out"
[[ $samples =~ ^([2-9]|[1-9][0-9]+)?$ ]] || die "--samples $samples: expected a number from 2"
[ -z "$samples" ] || [ -z "$translations" ] ||
    die "--samples $samples --translations $translations: expected one of them; the translations exist already"
[ -z "$worst" ] || [ -n "$backward" ] ||
    die "--filter-worst $worst needs scores: give the model that computes them with --backward"
[[ $worst =~ ^(0?\.[0-9]*[1-9][0-9]*)?$ ]] || die "--filter-worst $worst: expected a share between 0 and 1"
[[ $top_k =~ ^([1-9][0-9]*)?$ ]] || die "--cache-top-k $top_k: expected a number from 1"
[[ $bytes =~ ^([1-9][0-9]*)?$ ]] || die "--cache-bytes $bytes: expected a number from 1"
[ -z "$top_k" ] || [ -z "$bytes" ] || die "--cache-top-k $top_k --cache-bytes $bytes: expected one of them"
[[ $share =~ ^((0?\.[0-9]+)|[01](\.0*)?)?$ ]] || die "--reference-weight $share: expected a share from 0 to 1"
[ -z "$valid_translations" ] || [ -f "$valid_translations" ] ||
    die "--valid-translations $valid_translations: no such file, expected a list of lskd translate --subset valid"
if [ -n "$given" ]; then
    [ "$teacher$teacher_data$translations$samples$backward$valid_translations$strategy" = 1-best ] ||
        die "--selected $given is the result of translation and selection: leave out --teacher, --teacher-data, --translations, --valid-translations, --samples, --strategy and --backward"
    [ -f "$given/select.json" ] || die "--selected $given: no select.json there; expected a folder that lskd select wrote"
    valid_translations=$(compgen -G "$given/data-bin/valid1.*.idx" | head -n 1) || true
fi
# The loss on the translations falls as the student learns, as that on references does not.
[ -z "$valid_translations" ] || metric=${metric:-loss}
weight=${weight:-0.5} temperature=${temperature:-1.0}
load_recipe "$recipe"
if [ -n "$teacher_data" ]; then
    languages "$teacher_data" --teacher-data
    theirs=$src-$tgt teacher_scheme=$scheme
fi
languages "$data"
if [ -n "$teacher_data" ]; then
    [ "$theirs" = "$src-$tgt" ] || die "--teacher-data $teacher_data is $theirs, but --data $data is $src-$tgt"
    # The translations are joined to text, and cut into the student's pieces.
    for side in source:"$src" target:"$tgt"; do
        model=$data/pieces/spm.model
        [ "$dictionaries" = one ] || model=$data/pieces/spm.${side#*:}.model
        [ -f "$model" ] || die "--teacher-data needs a student with SentencePiece pieces, but there is no $model; prepare --data without --recipe moses-bpe"
        foreign+=("--sentencepiece-${side%:*}" "$model")
    done
fi
size "$size"
validation "$metric" "$@"
launcher "$@"
text=${teacher_data:-$data} made=$out-data
selected=${given:-$made/selected}
if [ -n "$given" ]; then
    for language in "$src" "$tgt"; do
        cmp -s "$given/data-bin/dict.$language.txt" "$data/bin/dict.$language.txt" ||
            die "--selected $given: expected data-bin/dict.$language.txt as in $data/bin; write the folder by lskd select --student-data $data/bin"
    done
fi
# same_vocabulary FLAG FILE DATA [OPTION ...]: check that the checkpoint that FLAG names has the vocabulary of DATA, as far as
# the dictionaries are in their usual places. OPTIONs are the user's.
same_vocabulary() {
    local language theirs ours
    [ -f "$2" ] || die "$1 $2: no such file; expected a checkpoint"
    for language in "$src" "$tgt"; do
        # The model's dictionary may have more types at its end, its language tokens.
        theirs=$(dirname "$2")/dict.$language.txt ours=$3/bin/dict.$language.txt
        [[ " ${*:4} " != *" --teacher-data"* ]] && [ -f "$theirs" ] && [ -f "$ours" ] || continue
        cmp -s <(sed 's/ [0-9]*$//' "$theirs" | head -n "$(wc -l <"$ours")") <(sed 's/ [0-9]*$//' "$ours") ||
            die "$1 $2: its vocabulary, $theirs, is not that of $ours: give a model with this vocabulary, or leave $1 out"
    done
}
mixture=() inputs=()
if [ -n "$backward" ]; then
    worst=${worst:-0.05}
    labels+=(--label "filter_worst=$worst")
    same_vocabulary --backward "$backward" "$text" "$@"
    pair=$([ ! -f "$(dirname "$backward")/run.json" ] || python -m fairseq_lskd.records.told pair "$(dirname "$backward")" distill_seq.sh)
    [ "${pair:-$tgt-$src}" = "$tgt-$src" ] || die "--backward $backward translates $pair; expected $tgt-$src (train_teacher.sh --direction $tgt-$src)"
fi
[ -z "$share" ] || mixture=(--reference-weight "$share")
if [ -n "$word_level" ]; then
    mixture+=(--kd-weight "$weight" --kd-temperature "$temperature")
    IFS=: read -ra teachers <<<"$word_level"
    for file in "${teachers[@]}"; do same_vocabulary --word-level "$file" "$data" "$@"; done
    if [ -n "$top_k$bytes" ]; then
        mixture+=(--teacher-cache "$made/top-k") inputs=(--input "$made/top-k/cache.json")
    else
        mixture+=(--teacher-path "$word_level") inputs=("${teachers[@]/#/--input=}")
    fi
fi

# fairseq-train and `lskd run` check these too, but only after the translation.
python -m fairseq_lskd.criterions.command_line ${bytes:+--sampled} "${train[@]}" "$data/bin" -s "$src" -t "$tgt" --user-dir "$user_dir" \
    --criterion seq_kd --sequence-weights "$selected/train.weights.npz" "${mixture[@]}" \
    "${model[@]}" "${training[@]}" "${distilled[@]}" "${valid[@]}" --max-update "$updates" "$@" || exit 1
if [ ${#told[@]} -gt 0 ]; then
    labels+=("${told[@]/#/--label=}")
    teachers=$teacher:$word_level teachers=${teachers#:} teachers=${teachers%:}
    [ -z "$teachers" ] || python -m fairseq_lskd.records.teacher_labels distill_seq.sh "$teachers" "${told[@]}" || exit 1
fi
if [ -z "$translations$given" ]; then
    translations=$made/nbest.jsonl
    # The other strategies need several hypotheses.
    nbest=${samples:-5}
    [ -n "$samples" ] || [ "$strategy" != 1-best ] || nbest=1
    "$root/scripts/translate.sh" --data "$text" --teacher "$teacher" --out "$translations" --nbest "$nbest" \
        -- ${samples:+--sampling --beam "$samples"} "${own[@]}" ||
        die "the teacher did not translate the training sentences, see above"
fi
if [ -n "$backward" ]; then
    filter=(--filter-worst "$made/backward.jsonl" "$worst")
    lskd rescore "$translations" --backward --teacher-path "$backward" "${own[@]}" --out "$made/backward.jsonl"
fi
[ -n "$given" ] || lskd select "$translations" -s "$src" -t "$tgt" --source "$text/pieces/train.$src" --references "$text/pieces/train.$tgt" --on-empty reference \
    --strategy "$strategy" --score-temperature "$score_temperature" "${filter[@]}" ${share:+--add-references 0.5} \
    --remove-bpe "${teacher_scheme:-$scheme}" "${foreign[@]}" --student-data "$data/bin" --out "$selected" ${valid_translations:+--valid-translations "$valid_translations"}
# fairseq picks the best checkpoint by the first set.
[ -z "$valid_translations" ] || valid+=(--valid-subset valid1,valid --ignore-unused-valid-subsets)
# The cache is for the selected translations, from which the student learns, and not for the corpus.
[ -z "$top_k$bytes" ] || lskd cache "$selected/data-bin" -s "$src" -t "$tgt" --teacher-path "$word_level" \
    ${top_k:+--top-k "$top_k"} ${bytes:+--bytes-per-token "$bytes"} \
    --kd-temperature "$temperature" "${own[@]}" --out "$made/top-k"
lskd run --out "$out" --label role=student --label recipe="$recipe" --label size="$size" "${labels[@]}" "${inputs[@]}" \
    --input "$selected/select.json" --input "$selected/train.weights.npz" --input "$data/pieces/encode.json" -- \
    "${train[@]}" "$selected/data-bin" -s "$src" -t "$tgt" --user-dir "$user_dir" \
    --criterion seq_kd --sequence-weights "$selected/train.weights.npz" "${mixture[@]}" \
    "${model[@]}" "${training[@]}" "${distilled[@]}" "${valid[@]}" "${parallel[@]}" --max-update "$updates" --seed "$seed" \
    --save-dir "$out" --log-format json --log-interval 20 "$@"
keep_dictionaries
lskd average "$out" --last "$average" --or-fewer
