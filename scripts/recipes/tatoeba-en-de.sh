# Tatoeba English-German, 160,000 pairs of short sentences: teacher 3.7 M parameters, student 0.76 M.
teacher_model=(--arch transformer_iwslt_de_en --share-all-embeddings --encoder-normalize-before --decoder-normalize-before
    --encoder-layers 4 --encoder-embed-dim 192 --encoder-ffn-embed-dim 768 --encoder-attention-heads 6
    --decoder-layers 2 --decoder-embed-dim 192 --decoder-ffn-embed-dim 768 --decoder-attention-heads 6
    --dropout 0.1 --lr 3e-3)
# A deep encoder and a shallow decoder, which decode fast (Kasai et al. 2021).
student_model=(--arch transformer_iwslt_de_en --share-all-embeddings --encoder-normalize-before --decoder-normalize-before
    --encoder-layers 2 --encoder-embed-dim 96 --encoder-ffn-embed-dim 384 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 96 --decoder-ffn-embed-dim 384 --decoder-attention-heads 4
    --dropout 0.0 --lr 5e-3)
teacher_large_model=(--arch transformer_iwslt_de_en --share-all-embeddings --encoder-normalize-before --decoder-normalize-before
    --encoder-layers 3 --encoder-embed-dim 320 --encoder-ffn-embed-dim 1280 --encoder-attention-heads 8
    --decoder-layers 3 --decoder-embed-dim 320 --decoder-ffn-embed-dim 1280 --decoder-attention-heads 8
    --dropout 0.2 --lr 1.5e-3)
# 0.47 M parameters
student_small_model=("${student_model[@]}" --encoder-layers 3 --encoder-embed-dim 64 --encoder-ffn-embed-dim 256
    --decoder-embed-dim 64 --decoder-ffn-embed-dim 256)
teacher_updates=7000
student_updates=6500
training=(--optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 1.0
    --lr-scheduler cosine --warmup-updates 500 --max-tokens 2048 --num-workers 0
    --no-epoch-checkpoints --save-interval-updates 500 --validate-interval-updates 500 --validate-interval 1000
    --keep-interval-updates 3)
validation_metric=bleu
patience=8
decoding=(--beam 5 --max-tokens 4000 --max-len-a 1.2 --max-len-b 10)
