# Multi30k with the models of multi30k.sh, and fewer updates: an experiment of thirty trainings in an hour or two of a CPU.
. "$root/scripts/recipes/multi30k.sh"
teacher_updates=800
student_updates=500
training+=(--warmup-updates 200 --save-interval-updates 50)
