#!/usr/bin/env bash
# Prepare the bitexts of several language pairs with one vocabulary, for a multilingual student and bilingual teachers.
#
#   scripts/prepare_pairs.sh --corpus generated --data data/many       xx-yy, ww-yy and zz-yy, three related languages and
#                                                                      one target language; no network needed
#   scripts/prepare_pairs.sh --raw my/text --pairs de-en,fr-en --data data/many
#                                                                      from my/text/de-en/{train,valid,test}.{de,en} and
#                                                                      my/text/fr-en/{train,valid,test}.{fr,en}
#   ... --vocab-size 8000                                              number of SentencePiece pieces (default: 8000; with
#                                                                      --corpus generated 1500)
#   ... --allow-shifted                                                warn instead of failing if two sides seem to be out of
#                                                                      step
#   ... --train 2000 --references 4                                    with --corpus generated: sentence pairs in each train,
#                                                                      references per test source, and other options of
#                                                                      lskd generate: --valid --test --seed --synonyms
#
# DATA/bin has all pairs, for scripts/distill_multilingual.sh. DATA/PAIR has raw/, pieces/ and bin/ of one pair, for all
# other scripts. DATA/vocabulary has the text and the model of the vocabulary.

. "$(dirname "$0")/lib.sh"
corpus='' raw='' data='' named='' vocab='' type=unigram generated=() shifted=()
while [ $# -gt 0 ]; do
    has_value "$@"
    case $1 in
        --corpus) corpus=$2; shift 2 ;;
        --raw) raw=${2%/}; shift 2 ;;
        --pairs) named=$2; shift 2 ;;
        --data) data=${2%/}; shift 2 ;;
        --vocab-size) vocab=$2; shift 2 ;;
        --allow-shifted) shifted=("$1"); shift ;;
        --train | --valid | --test | --references | --seed | --synonyms) generated+=("$1" "$2"); shift 2 ;;
        *) unknown_option "$1" "(see --help)" ;;
    esac
done
need "$data" --data
case $corpus in
    generated)
        [ -z "$raw$named" ] || die "--raw and --pairs are not allowed with --corpus generated"
        named=xx-yy,ww-yy,zz-yy vocab=${vocab:-1500} type=bpe
        ;;
    '')
        need "$raw" "--corpus or --raw"
        need "$named" --pairs
        [ ${#generated[@]} = 0 ] || die "${generated[0]} is only allowed with --corpus generated"
        vocab=${vocab:-8000}
        ;;
    *) die "--corpus $corpus: expected generated; give other text with --raw and --pairs" ;;
esac
IFS=, read -ra pairs <<<"$named"
for pair in "${pairs[@]}"; do
    [[ $pair =~ ^[A-Za-z0-9_]+-[A-Za-z0-9_]+$ ]] || die "--pairs $named: $pair is no pair; expected pairs such as de-en,fr-en"
    [ -n "$corpus" ] || [ -d "$raw/$pair" ] || die "--raw $raw: the folder $pair is missing in it"
done
[ "$(printf '%s\n' "${pairs[@]}" | sort | uniq -d)" = '' ] || die "--pairs $named: a pair occurs twice"
enter_environment

number=0
for pair in "${pairs[@]}"; do
    if [ -n "$corpus" ]; then
        # The grammar of scripts/prepare.sh.
        lskd generate --out "$data/$pair/raw" --dialect "$number" --train 4000 --valid 300 --test 1000 --references 16 \
            --nouns 40 --verbs 20 --adjectives 15 --adverbs 8 --prepositions 5 --synonyms 4 "${generated[@]}"
        number=$((number + 1))
    else
        [ -e "$data/$pair/raw" ] || { mkdir -p "$data/$pair" && ln -sfn "$(cd "$raw/$pair" && pwd)" "$data/$pair/raw"; }
        [ "$raw/$pair" -ef "$data/$pair/raw" ] ||
            die "$data/$pair/raw holds another text than --raw $raw/$pair; name another --data"
    fi
done
# text SPLIT SIDE: print one side of a split of all pairs.
text() {
    local pair file language
    for pair in "${pairs[@]}"; do
        language=${pair%-*}
        [ "$2" = source ] || language=${pair#*-}
        file=$data/$pair/raw/$1.$language
        if [ -f "$file" ]; then cat "$file"; elif [ -f "$file.gz" ]; then gzip -dc "$file.gz"; else die "$file is missing"; fi
    done
}
joint=$data/vocabulary
mkdir -p "$joint/raw"
for split in train valid test; do
    for side in source target; do
        text "$split" "$side" >"$joint/raw/$split.$side.part"
        # An unchanged file stays, with its date.
        if cmp -s "$joint/raw/$split.$side.part" "$joint/raw/$split.$side"; then
            rm "$joint/raw/$split.$side.part"
        else
            mv "$joint/raw/$split.$side.part" "$joint/raw/$split.$side"
        fi
    done
done
# From this file, lskd encode knows that the text is generated, with spaces before punctuation.
[ -z "$corpus" ] || cp "$data/${pairs[0]}/raw/truth.json" "$joint/raw/"
lskd encode --raw "$joint/raw" --out "$joint/pieces" -s source -t target --vocab-size "$vocab" --model-type "$type" \
    "${shifted[@]}"
for pair in "${pairs[@]}"; do
    lskd encode --raw "$data/$pair/raw" --out "$data/$pair/pieces" -s "${pair%-*}" -t "${pair#*-}" \
        --spm-model "$joint/pieces/spm.model" "${shifted[@]}"
    lskd binarise "$data/$pair/pieces" --out "$data/$pair/bin"
done
# All pairs in one folder, complete or absent.
rm -rf "$data/bin.part"
mkdir "$data/bin.part"
for pair in "${pairs[@]}"; do
    cp "$data/$pair"/bin/*.{bin,idx,txt} "$data/bin.part/"
done
if diff -qr "$data/bin.part" "$data/bin" >/dev/null 2>&1; then
    rm -r "$data/bin.part"
else
    rm -rf "$data/bin"
    mv "$data/bin.part" "$data/bin"
fi
