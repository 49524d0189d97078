# WMT16 English-Romanian, Transformer base (Ghazvininejad et al. 2019, the autoregressive baseline): 34.28 BLEU on
# newstest2016. An update is 16 x 8,192 = 131,072 tokens at most; optimiser, schedule and dropout are those of
# Mask-Predict's README. 300,000 updates are many for 0.6 M pairs: watch the validation loss, or use early stopping with
# `-- --patience 10`. GPU hours are not published.
teacher_model=(--arch transformer_wmt_en_de --share-all-embeddings --dropout 0.3)
# Deep encoder, shallow decoder (Kasai et al. 2021).
student_model=(--arch transformer_wmt_en_de --share-all-embeddings --dropout 0.3 --decoder-layers 1)
teacher_updates=300000
student_updates=300000
batches=16
training=(--optimizer adam --adam-betas '(0.9,0.999)' --adam-eps 1e-6 --clip-norm 0.0 --weight-decay 0.01
    --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 10000 --warmup-init-lr 1e-7 --max-tokens 8192
    --no-epoch-checkpoints --save-interval-updates 2000 --keep-interval-updates 5)
precision=(--fp16)
average=5
decoding=(--beam 5 --lenpen 1.0 --max-tokens 8000)
