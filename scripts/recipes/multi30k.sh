# Multi30k, 29,000 pairs of image captions: teacher 1.2 M parameters, student 0.4 M.
teacher_model=(--arch transformer_iwslt_de_en --share-all-embeddings
    --encoder-layers 2 --encoder-embed-dim 128 --encoder-ffn-embed-dim 256 --encoder-attention-heads 4
    --decoder-layers 2 --decoder-embed-dim 128 --decoder-ffn-embed-dim 256 --decoder-attention-heads 4)
teacher_large_model=(--arch transformer_iwslt_de_en --share-all-embeddings
    --encoder-layers 3 --encoder-embed-dim 256 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4
    --decoder-layers 3 --decoder-embed-dim 256 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4)
student_model=(--arch transformer_iwslt_de_en --share-all-embeddings
    --encoder-layers 2 --encoder-embed-dim 64 --encoder-ffn-embed-dim 128 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 64 --decoder-ffn-embed-dim 128 --decoder-attention-heads 4)
student_small_model=(--arch transformer_iwslt_de_en --share-all-embeddings
    --encoder-layers 1 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 32 --decoder-ffn-embed-dim 64 --decoder-attention-heads 4)
teacher_updates=1200
student_updates=1200
training=(--dropout 0.1 --optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 1.0
    --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 300 --max-tokens 2048
    --no-epoch-checkpoints --save-interval-updates 100 --keep-interval-updates 3 --validate-interval 1000)
validation_metric=bleu
patience=8
decoding=(--beam 5 --max-tokens 4000)
