# Europarl English-French, 300,000 pairs of WMT's training text: teacher 11.2 M parameters, student 1.9 M.
# lr is about d^-0.5 x warmup^-0.5 (Vaswani et al. 2017) for each width d.
teacher_model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.1 --lr 1.5e-3
    --encoder-layers 3 --encoder-embed-dim 320 --encoder-ffn-embed-dim 1280 --encoder-attention-heads 8
    --decoder-layers 3 --decoder-embed-dim 320 --decoder-ffn-embed-dim 1280 --decoder-attention-heads 8)
# A deep encoder and a shallow decoder, which decode fast (Kasai et al. 2021).
student_model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.1 --lr 3e-3
    --encoder-layers 3 --encoder-embed-dim 128 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4)
teacher_large_model=("${teacher_model[@]}" --encoder-layers 6)
student_small_model=("${student_model[@]}" --encoder-layers 1)
# About two epochs, which is what fits into twelve hours on two cores. On a GPU, use more in a copy of this file
# (scripts/experiment.sh --recipe FILE).
teacher_updates=5500
student_updates=6000
training=(--optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 1.0
    --lr-scheduler inverse_sqrt --warmup-updates 1000 --max-tokens 4096
    --no-epoch-checkpoints --save-interval-updates 500 --validate-interval-updates 500
    --keep-interval-updates 5 --validate-interval 1000)
validation_metric=bleu
patience=5
precision=(--fp16)
average=5
decoding=(--beam 5 --max-tokens 4000)
