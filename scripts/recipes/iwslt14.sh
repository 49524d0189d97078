# IWSLT14, 160,000 pairs, on one GPU: the hyper-parameters of Shen et al. (ICLR 2021), figure 7, for the teacher; a student
# half as wide, with half the layers.
sizes() {
    echo "--arch transformer_iwslt_de_en --share-all-embeddings --encoder-layers $1 --decoder-layers $1" \
        "--encoder-embed-dim $2 --decoder-embed-dim $2 --encoder-ffn-embed-dim $((2 * $2))" \
        "--decoder-ffn-embed-dim $((2 * $2)) --encoder-attention-heads 4 --decoder-attention-heads 4"
}
read -ra teacher_model < <(sizes 6 512)
read -ra teacher_large_model < <(sizes 6 768)
read -ra student_model < <(sizes 3 256)
read -ra student_small_model < <(sizes 2 128)
teacher_updates=50000
student_updates=50000
training=(--dropout 0.3 --weight-decay 0.0 --optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 0.0
    --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-7 --max-tokens 4096 --fp16
    --no-epoch-checkpoints --save-interval-updates 1000 --keep-interval-updates 5 --validate-interval 1000)
decoding=(--beam 5 --lenpen 1.0 --max-tokens 8000)
