# WMT14 English-German, Transformer big in large batches (Ott et al. 2018): 29.3 BLEU on newstest2014, 181 V100 GPU
# hours. An update is 128 x 3,584 = 458,752 tokens at most, lr 1e-3: fairseq's examples/scaling_nmt.
# 30,000 updates, as Wu et al. 2019 train their models of this size in fairseq; the average and the length penalty are
# Vaswani et al.'s for their big model.
teacher_model=(--arch transformer_vaswani_wmt_en_de_big --share-all-embeddings --dropout 0.3
    --lr 1e-3 --max-tokens 3584 --clip-norm 0.0)
teacher_updates=30000
teacher_batches=128
# The student of TIE-KD and of selective distillation, by NMT-KD's script: base, 8 x 4,096 tokens, lr 7e-4.
student_model=(--arch transformer_wmt_en_de --share-all-embeddings --dropout 0.1 --attention-dropout 0.1
    --activation-dropout 0.1 --lr 7e-4 --max-tokens 4096 --clip-norm 5.0)
student_updates=200000
student_batches=8
# For comparisons of sizes. These are not from a paper.
teacher_large_model=("${teacher_model[@]}" --encoder-layers 12)
student_small_model=("${student_model[@]}" --encoder-embed-dim 256 --encoder-ffn-embed-dim 1024
    --encoder-attention-heads 4 --decoder-layers 2 --decoder-embed-dim 256 --decoder-ffn-embed-dim 1024
    --decoder-attention-heads 4)
training=(--optimizer adam --adam-betas '(0.9,0.98)' --weight-decay 0.0
    --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-7
    --no-epoch-checkpoints --save-interval-updates 500 --keep-interval-updates 20)
precision=(--fp16)
average=20
decoding=(--beam 4 --lenpen 0.6 --max-tokens 8000)
