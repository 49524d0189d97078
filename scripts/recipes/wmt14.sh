# WMT14, 4.5 million pairs, on one GPU of 80 GB: a big Transformer teaches a base one. A batch has 25,000 tokens; on several
# GPUs divide --update-freq.
teacher_model=(--arch transformer_vaswani_wmt_en_de_big --share-all-embeddings)
teacher_large_model=(--arch transformer_vaswani_wmt_en_de_big --share-all-embeddings --encoder-layers 12)
student_model=(--arch transformer --share-all-embeddings)
student_small_model=(--arch transformer --share-all-embeddings
    --encoder-layers 6 --encoder-embed-dim 256 --encoder-ffn-embed-dim 1024 --encoder-attention-heads 4
    --decoder-layers 2 --decoder-embed-dim 256 --decoder-ffn-embed-dim 1024 --decoder-attention-heads 4)
teacher_updates=100000
student_updates=100000
training=(--dropout 0.1 --optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 0.0
    --lr 7e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-7
    --max-tokens 12500 --update-freq 2 --fp16
    --no-epoch-checkpoints --save-interval-updates 2000 --keep-interval-updates 5 --validate-interval 1000)
decoding=(--beam 4 --lenpen 0.6 --max-tokens 8000)
