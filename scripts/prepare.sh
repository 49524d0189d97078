#!/usr/bin/env bash
# Prepare a bitext: get the raw text, train a vocabulary for both languages, and binarise the text for fairseq.
#
#   scripts/prepare.sh --corpus generated --data data/generated                  no network needed
#   scripts/prepare.sh --corpus multi30k --data data/multi30k                    downloads 1.3 MB
#   scripts/prepare.sh --corpus multi30k --raw ~/multi30k --data data/multi30k   from files on disk
#   scripts/prepare.sh --corpus wmt14-en-de --data data/wmt14                    any corpus of `lskd data list`, cleaned
#   scripts/prepare.sh --corpus own --raw my/text -s de -t en --data data/mine   my/text/{train,valid,test}.{de,en}, cleaned
#   scripts/prepare.sh --raw my/text -s de -t en --data data/mine                the same files, not cleaned
#   ... --vocab-size 8000                                    number of SentencePiece pieces (default: what the corpus sets, or 8000)
#   ... --recipe moses-bpe                                   Moses tokenisation and BPE instead of SentencePiece, as in
#                                                            older papers
#   ... -- --separate --sample all                           options after -- are passed to lskd encode
#   ... -- --spm-model data/other/pieces/spm.model           a trained vocabulary, such as that of other data
#   ... --allow-shifted                                      warn instead of failing if the two sides seem to be out of step
#   ... --test-set newstest2013=wmt13                        another test set: NAME.LANG in --raw, or else sacreBLEU's wmt13
#   ... --pairs 50000 --references 8                         with --corpus generated: number of training pairs, number of
#                                                            references per test source, and other options of lskd generate:
#                                                            --valid --test --seed --nouns --verbs --adjectives --adverbs
#                                                            --prepositions --ambiguous --separable --synonyms
#                                                            --free-order --dialect
#
# It writes raw/, pieces/ and bin/ to DATA, and tests/ for other test sets. Text that is not cleaned is not copied: raw/ is
# then a link to the folder of --raw.

. "$(dirname "$0")/lib.sh"
corpus='' raw='' data='' src='' tgt='' vocab='' type=unigram generated=() dialect=0 recipe=sentencepiece separate=() tests=()
shifted=()
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --corpus) corpus=$2; shift 2 ;;
        --raw) raw=${2%/}; shift 2 ;;
        --data) data=${2%/}; shift 2 ;;
        -s | --source-lang) src=$2; shift 2 ;;
        -t | --target-lang) tgt=$2; shift 2 ;;
        --vocab-size) vocab=$2; shift 2 ;;
        --allow-shifted) shifted=("$1"); shift ;;
        --test-set) tests+=("$2"); shift 2 ;;
        --pairs) generated+=(--train "$2"); shift 2 ;;
        --valid | --test | --references | --seed | --nouns | --verbs | --adjectives | --adverbs | --prepositions | \
            --ambiguous | --separable | --synonyms | --free-order) generated+=("$1" "$2"); shift 2 ;;
        --dialect) dialect=$2 generated+=("$1" "$2"); shift 2 ;;
        --recipe) recipe=$2; shift 2 ;;
        --) shift; break ;;
        *) unknown_option "$1" "(see --help; options for lskd encode go after --)" ;;
    esac
done
need "$data" --data
[ "$corpus" != generated ] || [ -z "$raw$src$tgt" ] || die "--raw, -s and -t are not allowed with --corpus generated"
[ "$corpus" = generated ] || [ ${#generated[@]} = 0 ] ||
    die "${generated[0]/#--train/--pairs} is only allowed with --corpus generated"
enter_environment

asked=$vocab
case $corpus in
    generated)
        # A small model learns this small lexicon in minutes. With BPE, most words become one piece. With few pairs and
        # many correct translations per sentence, a student learns more from a teacher's distribution than from the pairs.
        tgt=yy vocab=${vocab:-1000} type=bpe
        lskd generate --out "$data/raw" --train 4000 --valid 300 --test 1000 --references 16 --nouns 40 --verbs 20 \
            --adjectives 15 --adverbs 8 --prepositions 5 --synonyms 4 "${generated[@]}"
        src=$(python -c 'import sys; from fairseq_lskd.data.dialects import DIALECTS
print(DIALECTS[int(sys.argv[1])].language)' "$dialect")
        ;;
    '')
        need "$raw" "--corpus or --raw"
        need "$src" -s
        need "$tgt" -t
        vocab=${vocab:-8000}
        [ -d "$raw" ] || die "--raw $raw: no such folder"
        # Replace the link of an earlier call that failed.
        if [ ! -e "$data/raw" ] || { [ -L "$data/raw" ] && [ ! -e "$data/pieces/encode.json" ]; }; then
            mkdir -p "$data" && ln -sfn "$(cd "$raw" && pwd)" "$data/raw"
        fi
        [ "$raw" -ef "$data/raw" ] || die "$data/raw holds another text than --raw $raw; name another --data"
        ;;
    *)
        [ -z "$src" ] || need "$tgt" -t
        [ -z "$tgt" ] || need "$src" -s
        lskd data prepare "$corpus" --out "$data" ${raw:+--raw "$raw"} ${src:+-s "$src"} ${tgt:+-t "$tgt"} "${shifted[@]}"
        read -r src tgt size type joint < <(python -m fairseq_lskd.records.told vocabulary "$data" prepare.sh) || exit 1
        vocab=${vocab:-$size}
        [ "$joint" = True ] || separate=(--separate)
        ;;
esac

vocabulary=(--vocab-size "$vocab" "${separate[@]}")
[ "$recipe" != sentencepiece ] || vocabulary+=(--model-type "$type")
# A trained vocabulary has its own size and type.
case " $* " in *" --spm-model"[\ =]*) vocabulary=(${asked:+--vocab-size "$asked"}) ;; esac
lskd encode --raw "$data/raw" --out "$data/pieces" -s "$src" -t "$tgt" --recipe "$recipe" "${vocabulary[@]}" "${shifted[@]}" \
    "$@"
lskd binarise "$data/pieces" --out "$data/bin"
for test in "${tests[@]}"; do
    set=${test#*=}
    [ "$set" != "$test" ] || set=''
    lskd data test "${test%%=*}" --data "$data" ${raw:+--raw "$raw"} ${set:+--sacrebleu "$set"} "${shifted[@]}"
done
