"""fairseq-train names the way out for the first mistakes with the plug-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_lskd.compat.plugin_hints import hint

FOLDER = Path(__file__).parents[2] / "fairseq_lskd"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--criterion", "word_kd"], f"--user-dir {FOLDER}"),
        (["--criterion", "word_kd", "--user-dir", "fairseq_lskd"], f"--user-dir {FOLDER}"),
        (
            ["--criterion", "word_kd", "--user-dir", str(FOLDER), "--arch", "transformer", "--kd-weigth", "1"],
            "lskd criterion word_kd",
        ),
    ],
)
def test_the_message_names_the_way_out(options: list[str], named: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fairseq_cli.train", "data", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0 and named in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_other_mistakes_get_no_hint() -> None:
    assert hint("unrecognized arguments: --beem 5", ["--criterion", "cross_entropy"]) is None
    assert hint("argument --lr: invalid float value", ["--criterion", "word_kd"]) is None
