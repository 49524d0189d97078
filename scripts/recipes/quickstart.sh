# The quickstart: the recipe generated, on 8,000 pairs. On 4,000, students with a teacher need dropout too.
. "$root/scripts/recipes/generated.sh"
# A teacher's distributions and translations keep a student from learning pairs by heart: dropout only costs it then.
distilled=(--dropout 0.0)
