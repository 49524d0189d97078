#!/usr/bin/env bash
# Score a run on the test set with plain fairseq-generate and sacreBLEU, and compute its perplexity on the validation set.
#
#   scripts/score.sh --data data/multi30k --run runs/mine/word-0.1
#   ... --test-set newstest2013                           score on another test set, which `lskd data test` added
#   ... --checkpoint runs/mine/word-0.1/checkpoint_best.pt    checkpoint to score (default: RUN/checkpoint_average.pt)
#   ... --recipe multi30k                                 recipe with the search options (default: the run's recipe)
#   ... --user-dir mine                                   your own modules, if the model needs them
#   ... --export int8                                     also score the exported model (`lskd export`) in this format, if
#                                                         CTranslate2 supports the model
#   ... -- --metrics bleu chrf ter --allow-overlap        options after -- are passed to `lskd record`
#   ... -- --tokenize char                                BLEU's tokeniser (default: that of the target language)
#
# A multilingual run (scripts/distill_multilingual.sh) is scored on one of its language pairs, that of DATA. Its record is
# RUN/result-PAIR.json.
#
# All references of the test set are used: DATA/raw/test.LANG, test.1.LANG, test.2.LANG and so on, plain or gzipped.
# RUN/result.json (for another test set: RUN/result-NAME.json) is the record of the last checkpoint that was scored.
# `lskd table RUN/result.json ...` prints records as a table.

. "$(dirname "$0")/lib.sh"
data='' run='' checkpoint='' recipe='' further='' export='' modules=()
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --data) data=${2%/}; shift 2 ;;
        --run) run=${2%/}; shift 2 ;;
        --checkpoint) checkpoint=$2; shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --test-set) further=$2; shift 2 ;;
        --export) export=$2; shift 2 ;;
        --user-dir) modules+=(--user-dir "$2"); shift 2 ;;
        --) shift; break ;;
        *) unknown_option "$1" "(see --help; options for lskd record go after --)" ;;
    esac
done
need "$data" --data
need "$run" --run
[ -n "$recipe" ] || recipe=$(recipe_of "$run")
load_recipe "$recipe"
languages "$data"
[ -f "$run/run.json" ] || die "--run $run: no run.json there; expected a folder that a training script wrote (after plain fairseq-train, use lskd record: docs/fairseq-train.md)"
same_pair "$run"
same_dictionaries "$run"
tested=$data/raw binarised=$data/bin made=$data/pieces/encode.json mark='' named=()
if [ -n "$further" ]; then
    plain_name "$further" --test-set
    tested=$data/tests/$further/raw binarised=$data/tests/$further made=$data/tests/$further/test.json
    mark=-$further named=(--test-name "$further")
    [ -f "$made" ] || die "--test-set $further: $made is missing; add the test set with: lskd data test $further --data $data"
fi
# Check the files before anything is decoded.
source=$tested/test.$src references=$tested/test.$tgt train=$data/raw/train.$tgt
[ -f "$source" ] || source+=.gz
[ -f "$references" ] || references+=.gz
[ -f "$train" ] || train+=.gz
for file in "$source" "$references" "$train"; do
    [ -f "$file" ] || die "--data $data: ${file%.gz} or .gz is missing, and scores are computed on raw text: put it \
there, or make $data/raw a link to its folder"
done
references=("$references")
for file in "$tested/test".*."$tgt" "$tested/test".*."$tgt.gz"; do
    number=${file##*/test.} number=${number%.gz} number=${number%."$tgt"}
    case $number in '' | *[!0-9]*) continue ;; esac
    [ "${file%.gz}" != "$file" ] && [ -f "${file%.gz}" ] || references+=("$file")
done
own_modules "${modules[@]}"
read -ra task < <(task_of "$run") || exit 1
# A multilingual model is validated on its own task too, which adds the language tokens.
pair='' validated=(--task translation)
case " ${task[*]} " in *" --lang-pairs "*) pair=-$src-$tgt validated=("${task[@]}") ;; esac
# Each checkpoint of a run has its own folders for scoring.
scored=${checkpoint:+-$(basename "$checkpoint" .pt)}
checkpoint=${checkpoint:-$run/checkpoint_average.pt}
name=$(basename "$run")$scored
validate=$run/validate$pair$scored test=$run/test$pair$mark$scored

truth=()
[ -f "$tested/truth.json" ] && truth=(--truth "$data/raw/truth.json" --pieces "$data/pieces/valid.$tgt")
score=(lskd record --run "$run" -l "$src-$tgt" --references "${references[@]}" --train "$train" --allow-empty "${truth[@]}"
    "${named[@]}" "$@")

# Report mistakes before anything is decoded.
"${score[@]}" --check
# An exported folder adds the language tokens itself, so it translates the data of one pair.
exported=() folder=$run/exported$scored$pair search="-s $src -t $tgt ${decoding[*]} ${task[*]}" chosen=()
[ -z "$pair" ] || chosen=(-s "$src" -t "$tgt") search=${decoding[*]}
if [ -n "$export" ]; then
    translated=$folder$mark.$tgt
    rm -f "$translated"
    lskd export "$checkpoint" --out "$folder" --compute-type "$export" --if-possible --data "$binarised" "${own[@]}" \
        "${chosen[@]}" --generate "$translated" --search="$search"
    [ ! -f "$translated" ] || exported=(--exported "$folder" --exported-hypotheses "$translated")
fi
lskd run --out "$validate" --title "$name validation$pair" --input "$checkpoint" --input "$data/pieces/encode.json" -- \
    fairseq-validate "$data/bin" "${validated[@]}" -s "$src" -t "$tgt" --user-dir "$user_dir" \
    --path "$checkpoint" --valid-subset valid --max-tokens 4000 \
    --model-overrides "{'teacher_path': 'none', 'sequence_weights': None, 'reference_weight': None, 'eval_bleu': False}" \
    --log-format json
lskd run --out "$test" --title "$name test$pair$mark" --input "$checkpoint" --input "$made" -- \
    fairseq-generate "$binarised" -s "$src" -t "$tgt" --gen-subset test --path "$checkpoint" \
    "${decoding[@]}" --remove-bpe "$scheme" "${own[@]}" "${task[@]}"
lskd harvest "$test/log.txt" --source "$source" --pieces "$data/pieces" --out "$test/hypotheses.$tgt"
"${score[@]}" "${exported[@]}" --checkpoint "$checkpoint" --hypotheses "$test/hypotheses.$tgt" --validation "$validate/log.txt"
