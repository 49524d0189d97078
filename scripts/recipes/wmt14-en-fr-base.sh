# WMT14 English-French, Transformer base (Vaswani et al. 2017): 38.1 BLEU on newstest2014, 96 P100 GPU hours.
# All as in wmt14-en-de-base, which the paper trains in the same way.
. "$root/scripts/recipes/wmt14-en-de-base.sh"
