# The generated bitext, 8,000 pairs: minutes on two CPU cores.
teacher_model=(--arch transformer_iwslt_de_en --share-all-embeddings
    --encoder-layers 2 --encoder-embed-dim 128 --encoder-ffn-embed-dim 256 --encoder-attention-heads 4
    --decoder-layers 2 --decoder-embed-dim 128 --decoder-ffn-embed-dim 256 --decoder-attention-heads 4)
teacher_large_model=(--arch transformer_iwslt_de_en --share-all-embeddings
    --encoder-layers 3 --encoder-embed-dim 192 --encoder-ffn-embed-dim 384 --encoder-attention-heads 4
    --decoder-layers 3 --decoder-embed-dim 192 --decoder-ffn-embed-dim 384 --decoder-attention-heads 4)
student_model=(--arch transformer_iwslt_de_en --share-all-embeddings
    --encoder-layers 1 --encoder-embed-dim 64 --encoder-ffn-embed-dim 128 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 64 --decoder-ffn-embed-dim 128 --decoder-attention-heads 4)
student_small_model=(--arch transformer_iwslt_de_en --share-all-embeddings
    --encoder-layers 1 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 32 --decoder-ffn-embed-dim 64 --decoder-attention-heads 4)
teacher_updates=1000
student_updates=900
training=(--dropout 0.1 --optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 1.0
    --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 200 --max-tokens 1024
    --no-epoch-checkpoints --save-interval-updates 100 --keep-interval-updates 3 --validate-interval 1000)
validation_metric=bleu
patience=8
decoding=(--beam 5 --max-tokens 4000)
