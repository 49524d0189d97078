# Multi30k, 29,000 pairs of image captions: teacher 1.6 M parameters, student 0.4 M. With so few pairs there are many epochs,
# so teachers need dropout. The schedule ends at a learning rate of 0, when the models no longer improve.
teacher_model=(--arch transformer_iwslt_de_en --share-all-embeddings --encoder-normalize-before --decoder-normalize-before
    --encoder-layers 3 --encoder-embed-dim 128 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4
    --decoder-layers 2 --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4
    --dropout 0.15 --lr 4e-3)
teacher_large_model=(--arch transformer_iwslt_de_en --share-all-embeddings --encoder-normalize-before --decoder-normalize-before
    --encoder-layers 3 --encoder-embed-dim 256 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4
    --decoder-layers 3 --decoder-embed-dim 256 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4
    --dropout 0.3 --lr 2e-3)
student_model=(--arch transformer_iwslt_de_en --share-all-embeddings --encoder-normalize-before --decoder-normalize-before
    --encoder-layers 2 --encoder-embed-dim 64 --encoder-ffn-embed-dim 128 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 64 --decoder-ffn-embed-dim 128 --decoder-attention-heads 4
    --dropout 0.1 --lr 5e-3)
student_small_model=(--arch transformer_iwslt_de_en --share-all-embeddings --encoder-normalize-before --decoder-normalize-before
    --encoder-layers 1 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 4
    --decoder-layers 1 --decoder-embed-dim 32 --decoder-ffn-embed-dim 64 --decoder-attention-heads 4
    --dropout 0.1 --lr 5e-3)
teacher_updates=4000
student_updates=4500
training=(--optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 1.0
    --lr-scheduler cosine --warmup-updates 300 --max-tokens 2048 --num-workers 0
    --no-epoch-checkpoints --save-interval-updates 250 --validate-interval-updates 250 --validate-interval 1000
    --keep-interval-updates 3)
# A teacher's distributions and translations keep a student from learning pairs by heart: dropout only costs it then.
distilled=(--dropout 0.0)
validation_metric=bleu
patience=8
decoding=(--beam 5 --max-tokens 4000 --max-len-a 1.2 --max-len-b 10)
