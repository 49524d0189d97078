#!/usr/bin/env python
"""What teachers of several vocabulary sizes say of label smoothing: the last step of scripts/vocabulary_sizes.sh.

python scripts/vocabulary_report.py runs/vocabulary-generated --references data/generated-v200/raw/test.yy --out report
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fairseq_lskd.errors import exit_on_user_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, metavar="DIR", help="folder with the runs of all teachers, scored")
    parser.add_argument("--references", type=Path, required=True, metavar="FILE", help="of the test set, detokenised")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the page, tables and picture go")
    args = parser.parse_args()
    with exit_on_user_error("vocabulary_report.py"):
        from fairseq_lskd.analysis.saving import save
        from fairseq_lskd.analysis.vocabulary import section

        page = save(section(args.runs, args.references), args.out)
        print(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
