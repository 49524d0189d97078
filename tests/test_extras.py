"""Without an optional package, each command names the package and the extra that contains it."""

from __future__ import annotations

import gzip
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.compat.versions import OPTIONAL

BY_NAME = {"mtdata": "data", "matplotlib": "analysis", "ctranslate2": "fast", "py3langid": "select"}
BY_NAME |= {"sacremoses": "moses", "subword_nmt": "moses", "jinja2": "analysis"}


def refused(*words: object) -> str:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert isinstance(end.value.code, str)
    return end.value.code


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A bitext, a result record and rows of curves."""
    for split in ("train", "valid", "test"):
        for language in ("de", "en"):
            lines = "".join(f"ein satz {split} {language} {i}\n" for i in range(9))
            (tmp_path / f"{split}.{language}").write_text(lines)
    record = {"system": "a", "bleu": 1.0, "signature": "b", "parameters": 9}
    (tmp_path / "result.json").write_text(json.dumps(record))
    (tmp_path / "curves.csv").write_text("system,update,name,value\na,1,valid_ppl,2.0\n")
    hypothesis = {"tokens": "a", "text": "a", "score": -1.0, "length": 2}
    (tmp_path / "nbest").write_text(json.dumps({"id": 0, "source": "a", "hypotheses": [hypothesis]}) + "\n")
    (tmp_path / "own.toml").write_text('title = "a"\nlanguages = ["de", "en"]\n[[train]]\nmtdata = "X-y-1-deu-eng"\n')
    with gzip.open(tmp_path / "a.gz", "wb") as stream:
        stream.write(b"a\n")
    return tmp_path


COMMANDS = {
    "analyze": "matplotlib analyze --runs {0} --out {0}/out",
    "analyze without jinja2": "jinja2 analyze --runs {0} --out {0}/out",
    "curves": "matplotlib curves --from {0}/curves.csv --plot {0}/a.svg",
    "table": "matplotlib table {0}/result.json --plot {0}/a.svg",
    "export": "ctranslate2 export {0}/a.pt --out {0}/out",
    "translate": "ctranslate2 translate {0}/test.de --model {0} --out {0}/out",
    "cache": "ctranslate2 cache {0} --model {0} --out {0}/out",
    "encode, tokenised": "sacremoses encode --raw {0} --out {0}/out -s de -t en --recipe moses-bpe",
    "encode, codes": "subword_nmt encode --raw {0} --out {0}/out -s de -t en --recipe moses-bpe",
    "select": "py3langid select {0}/nbest -s de -t en --out {0}/out --filter-language de,en",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands_name_the_extra(command: str, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, *words = command.split()
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    said = refused(*(word.format(text) for word in words))
    assert OPTIONAL[module].name in said and f"fairseq_lskd[{BY_NAME[module]}]" in said and "pip install" in said
    assert not (text / "out").exists()


def test_a_failed_import_of_an_optional_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` handles missing optional packages too."""
    monkeypatch.setitem(sys.modules, "mtdata", None)
    monkeypatch.setattr("fairseq_lskd.cli.doctor.run", lambda _: __import__("mtdata"))
    assert re.search(r"mtdata is not installed.*fairseq_lskd\[data\]", refused("doctor"))


def test_extras_contain_the_packages_that_messages_name() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for package in OPTIONAL.values():
        if package.extra:
            assert any(row.startswith(f"{package.distribution}>=") for row in extras[package.extra])
