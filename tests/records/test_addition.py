"""The example of docs/development.md adds a column to every table."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    {"system": f"{name}-s{seed}", "seed": seed, "role": "student", "temperature": t, "bleurt": value, **more}
    for name, t, values in (("cold", 1, (0.5, 0.7)), ("warm", 2, (0.75, 0.85)))
    for seed, value in enumerate(values, start=1)
    for more in [{"bleu": 20.0, "signature": "nrefs:1", "train_seconds": 1.0}]
]


def test_a_new_column_needs_one_edit(tmp_path: Path) -> None:
    page = (ROOT / "docs/development.md").read_text()
    ((path, code),) = re.findall(
        r"Add to the class `Result` of `(fairseq_lskd/\S+\.py)`.*?```python\n(.*?)```", page, re.S
    )
    source, place = (ROOT / path).read_text(), "    bleu_gap_closed:"
    assert source.count(place) == 1
    # Run the edited module in a new process.
    program = (
        "import sys, fairseq_lskd.records.result as module\n"
        "exec(compile(open(sys.argv[1]).read(), 'result.py', 'exec'), module.__dict__)\n"
        "from fairseq_lskd.cli import main\nmain(['table', 'rows.json', *sys.argv[2:]])"
    )
    (tmp_path / "edited.py").write_text(source.replace(place, f"{code}{place}"))
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))

    def table(*words: str, rows: list | None = None) -> subprocess.CompletedProcess:
        (tmp_path / "rows.json").write_text(json.dumps(ROWS if rows is None else rows))
        words = (sys.executable, "-c", program, "edited.py", *words)
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=os.environ)

    over = table("--over-seeds", "--style", "github")
    head, _, cold, _ = over.stdout.splitlines()[:4]
    assert head.split("|")[5].strip() == "BLEURT" and cold.split("|")[5].strip() == "0.600 +- 0.141", over.stderr
    assert "+0.200 [" in table("--differences").stdout
    assert r"0.800 +- 0.071" in table("--over-seeds", "--style", "latex").stdout
    wrong = table(rows=[ROWS[0] | {"bleurt": "0.5"}])
    assert wrong.returncode == 1 and "bleurt" in wrong.stderr
