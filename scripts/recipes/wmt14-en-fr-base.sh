# WMT14 English-French, Transformer base (Vaswani et al. 2017): 38.1 BLEU on newstest2014, 96 P100 GPU hours.
# Everything is as in wmt14-en-de-base, because the paper trains both in the same way.
. "$root/scripts/recipes/wmt14-en-de-base.sh"
