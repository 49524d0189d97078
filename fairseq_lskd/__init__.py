"""Knowledge distillation for neural machine translation, as a plug-in for fairseq.

``fairseq-train --user-dir fairseq_lskd`` imports this package, which registers the criterions
``label_smoothed_teacher``, ``word_kd`` and ``seq_kd``. They are registered only if fairseq was
imported before, so that ``lskd --help`` and ``fairseq_lskd.losses`` do not need it. Otherwise,
import ``fairseq_lskd.criterions`` to register them.
"""

import sys

__version__ = "0.1.0"

if "fairseq" in sys.modules:
    from . import criterions  # noqa: F401  registers the criterions
