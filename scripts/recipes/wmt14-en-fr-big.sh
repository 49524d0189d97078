# WMT14 English-French, Transformer big in large batches (Ott et al. 2018): 43.2 BLEU on newstest2014, 1,088 V100 GPU
# hours. An update is 128 x 5,120 = 655,360 tokens at most. Batch size and lr 7e-4 are from the training log that the first
# author gives in facebookresearch/fairseq#233 (617,156 tokens per update, 2,150 updates per epoch). 8.5 hours are 80,000
# updates at the speed of that log. The average and the length penalty are Vaswani et al.'s for their big model.
teacher_model=(--arch transformer_vaswani_wmt_en_fr_big --share-all-embeddings --dropout 0.1
    --lr 7e-4 --max-tokens 5120 --clip-norm 0.0)
teacher_updates=80000
teacher_batches=128
# TIE-KD's student, as in wmt14-en-de-big.
student_model=(--arch transformer_wmt_en_de --share-all-embeddings --dropout 0.1 --attention-dropout 0.1
    --activation-dropout 0.1 --lr 7e-4 --max-tokens 4096 --clip-norm 5.0)
student_updates=200000
student_batches=8
training=(--optimizer adam --adam-betas '(0.9,0.98)' --weight-decay 0.0
    --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-7
    --no-epoch-checkpoints --save-interval-updates 1000 --keep-interval-updates 20)
precision=(--fp16)
average=20
decoding=(--beam 4 --lenpen 0.6 --max-tokens 8000)
