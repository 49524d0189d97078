# The generated bitext, 4,000 pairs: minutes on two CPU cores. With so few pairs there are many epochs, so teachers need
# dropout. The schedule ends at a learning rate of 0, when the models no longer improve.
# Ten validations per training. The two in the last fifth show whether a model has converged.
teacher_validations=(--save-interval-updates 160 --validate-interval-updates 160)
student_validations=(--save-interval-updates 280 --validate-interval-updates 280)
teacher_model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.2 --lr 3e-3
    --encoder-layers 2 --encoder-embed-dim 128 --encoder-ffn-embed-dim 256 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 128 --decoder-ffn-embed-dim 256 --decoder-attention-heads 4
    "${teacher_validations[@]}")
teacher_large_model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.2 --lr 3e-3
    --encoder-layers 3 --encoder-embed-dim 192 --encoder-ffn-embed-dim 384 --encoder-attention-heads 4
    --decoder-layers 3 --decoder-embed-dim 192 --decoder-ffn-embed-dim 384 --decoder-attention-heads 4
    "${teacher_validations[@]}")
student_model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.1 --lr 5e-3
    --encoder-layers 1 --encoder-embed-dim 36 --encoder-ffn-embed-dim 72 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 36 --decoder-ffn-embed-dim 72 --decoder-attention-heads 4
    "${student_validations[@]}")
student_small_model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.1 --lr 5e-3
    --encoder-layers 1 --encoder-embed-dim 24 --encoder-ffn-embed-dim 48 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 24 --decoder-ffn-embed-dim 48 --decoder-attention-heads 4
    "${student_validations[@]}")
teacher_updates=1600
student_updates=2800
training=(--optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 1.0
    --lr-scheduler cosine --warmup-updates 200 --max-tokens 1024 --num-workers 0
    --no-epoch-checkpoints --validate-interval 1000 --keep-interval-updates 3)
validation_metric=bleu
patience=8
# With a maximum length, because a small model may repeat itself without end.
decoding=(--beam 5 --max-tokens 4000 --max-len-a 1.2 --max-len-b 10)
