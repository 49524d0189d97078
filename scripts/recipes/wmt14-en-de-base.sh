# WMT14 English-German, Transformer base (Vaswani et al. 2017): 27.3 BLEU on newstest2014, 96 P100 GPU hours.
# An update is 8 x 4,096 = 32,768 tokens at most (the paper: some 25,000 of each side). lr 7e-4 is what fairseq's users
# train it with (NMT-KD's scripts); the paper's schedule has the same shape and the same peak, 512^-0.5 x 4000^-0.5.
# The average of 5 checkpoints, beam 4 and length penalty 0.6 are the paper's.
teacher_model=(--arch transformer_wmt_en_de --share-all-embeddings --dropout 0.1)
# Deep encoder, shallow decoder (Kasai et al. 2021): 27.4 BLEU with the translations of a big teacher.
student_model=(--arch transformer_wmt_en_de --share-all-embeddings --dropout 0.1 --decoder-layers 1)
teacher_updates=100000
student_updates=100000
batches=8
training=(--optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 0.0 --weight-decay 0.0
    --lr 7e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-7 --max-tokens 4096
    --no-epoch-checkpoints --save-interval-updates 1500 --keep-interval-updates 5)
precision=(--fp16)
average=5
decoding=(--beam 4 --lenpen 0.6 --max-tokens 8000)
