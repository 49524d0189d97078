# Tatoeba English-German, 160,000 pairs of short sentences. Models and batches are those of europarl-en-fr, with more
# dropout, because there are more epochs.
. "$root/scripts/recipes/europarl-en-fr.sh"
teacher_model+=(--dropout 0.2)
teacher_large_model+=(--dropout 0.2)
teacher_updates=2500
student_updates=3200
training+=(--save-interval-updates 200 --validate-interval-updates 200)
