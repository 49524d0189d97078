# IWSLT14 German-English, the small Transformer of fairseq's examples/translation: 34.4 BLEU (Wu et al. 2019, lower-cased
# and tokenised). An update is 4,096 tokens at most. Updates and the average of 10 epochs are Wu et al.'s. GPU hours are
# not published; it is an afternoon on one GPU.
teacher_model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.3)
# Half as wide, with three layers, as a production system might be.
student_model=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.3
    --encoder-layers 3 --encoder-embed-dim 256 --encoder-ffn-embed-dim 512
    --decoder-layers 3 --decoder-embed-dim 256 --decoder-ffn-embed-dim 512)
teacher_large_model=("${teacher_model[@]}" --encoder-embed-dim 768 --encoder-ffn-embed-dim 1536
    --decoder-embed-dim 768 --decoder-ffn-embed-dim 1536)
student_small_model=("${student_model[@]}" --encoder-embed-dim 128 --encoder-ffn-embed-dim 256
    --decoder-embed-dim 128 --decoder-ffn-embed-dim 256)
teacher_updates=50000
student_updates=50000
training=(--optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 0.0 --weight-decay 1e-4
    --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-7 --max-tokens 4096
    --keep-last-epochs 10)
# As in fairseq's example, but with greedy search instead of beam search.
validation_metric=bleu
average=10
decoding=(--beam 5 --lenpen 1.0 --max-tokens 8000)
