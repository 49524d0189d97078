# The generated bitext, 2,000 pairs: seconds on a CPU. Models that show that everything runs, and nothing else.
layers() {
    echo "--arch transformer_iwslt_de_en --share-all-embeddings --encoder-layers $1 --decoder-layers $1" \
        "--encoder-embed-dim $2 --decoder-embed-dim $2 --encoder-ffn-embed-dim $((2 * $2))" \
        "--decoder-ffn-embed-dim $((2 * $2)) --encoder-attention-heads 4 --decoder-attention-heads 4"
}
read -ra teacher_model < <(layers 1 96)
read -ra teacher_large_model < <(layers 2 96)
read -ra student_model < <(layers 1 48)
read -ra student_small_model < <(layers 1 32)
teacher_updates=240
student_updates=200
training=(--dropout 0.1 --optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 1.0
    --lr 8e-3 --lr-scheduler inverse_sqrt --warmup-updates 60 --max-tokens 1024 --num-workers 0
    --no-epoch-checkpoints --save-interval-updates 60 --validate-interval-updates 60
    --keep-interval-updates 3 --validate-interval 1000)
# Only four validations, because each decodes.
validation_metric=bleu
patience=3
# With a maximum length, because such a model does not generate </s>: this takes a tenth of the time.
decoding=(--beam 2 --max-tokens 4000 --max-len-a 1.2 --max-len-b 5)
