"""Knowledge distillation for neural machine translation, as a plug-in for fairseq.

``fairseq-train --user-dir fairseq_lskd`` imports this package, which registers the criterions
``label_smoothed_teacher``, ``word_kd`` and ``seq_kd``. Nothing else happens on import, and where
fairseq is not loaded (``lskd --help``, a program that only wants ``fairseq_lskd.losses``) not even
that: import ``fairseq_lskd.criterions`` to register them by hand.
"""

import sys

__version__ = "0.1.0"

if "fairseq" in sys.modules:
    from . import criterions  # noqa: F401  registers the criterions
