"""A corpus in the layout of WMT14 from archives to binarised data, with real text in the place of the real corpus."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORPORA = ROOT.parent / "shared" / "corpora"
BIN = Path(sys.executable).parent

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (CORPORA / "newstest-en-de").is_dir(), reason=f"no {CORPORA.name} beside the checkout"),
]
NOISE = [
    ("markup", "See <b>all</b> of our offers in Berlin.", "Sehen Sie <b>alle</b> Angebote in Berlin."),
    ("copy", "Contact us now for more information about it.", "Contact us now for more information about it."),
    ("empty", "This sentence has no translation.", ""),
    ("length ratio", "No.", "Nein, das ist ganz und gar nicht das, was wir uns darunter vorgestellt haben."),
    ("language", "The weather is fine today.", "Le temps est très beau aujourd'hui et nous allons nous promener."),
    ("script", "The weather is fine today.", "Сегодня прекрасная погода"),
]


def text(name: str, language: str, first: int, count: int) -> list[str]:
    with gzip.open(CORPORA / f"{name}.{language}.gz", "rt", encoding="utf-8", newline="\n") as stream:
        return [line.rstrip("\n") for line in islice(stream, first, first + count)]


def archive(path: Path, files: dict[str, list[str]]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, lines in files.items():
            data = "".join(f"{line}\n" for line in lines).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def sgm(lines: list[str]) -> list[str]:
    return ["<refset>", "<doc>", *(f'<seg id="{n}">{line}</seg>' for n, line in enumerate(lines, 1)), "</doc>"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives of wmt14-en-de, with some of what makes cleaning necessary in the second."""
    folder = tmp_path_factory.mktemp("downloads")
    sides = {lang: text("tatoeba-en-de/train", lang, 20_000, 1500) for lang in ("de", "en")}
    archive(
        folder / "training-parallel-europarl-v7.tgz",
        {f"training/europarl-v7.de-en.{lang}": sides[lang] for lang in ("de", "en")},
    )
    crawl = {lang: text("multi30k/train", lang, 0, 1500) for lang in ("de", "en")}
    news = {lang: text("newstest-en-de/newstest2014", lang, 100, 3) for lang in ("de", "en")}
    for side, lang in ((1, "en"), (2, "de")):
        noise = [row[side] for row in NOISE]
        crawl[lang] = [*crawl[lang][:700], *noise, *crawl[lang][700:], *crawl[lang][:2], *news[lang]]
    archive(
        folder / "training-parallel-commoncrawl.tgz",
        {"README": ["x"]} | {f"commoncrawl.de-en.{lang}": crawl[lang] for lang in ("de", "en")},
    )
    for lang in ("de", "en"):  # one part is not an archive any more
        (folder / "training").mkdir(exist_ok=True)
        lines = text("tatoeba-en-de/train", lang, 90_000, 500)
        (folder / "training" / f"news-commentary-v9.de-en.{lang}").write_text("".join(f"{line}\n" for line in lines))
    archive(
        folder / "test.tgz",
        {
            f"test/newstest2013-src.{lang}.sgm": sgm(text("newstest-en-de/newstest2013", lang, 0, 200))
            for lang in ("de", "en")
        },
    )
    archive(
        folder / "test-full.tgz",
        {
            f"test-full/newstest2014-deen-{role}.{lang}.sgm": sgm(text("newstest-en-de/newstest2014", lang, 0, 200))
            for role, lang in (("src", "en"), ("ref", "de"))
        },
    )
    return folder


def call(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, cwd=cwd, env=env)


def test_from_archives_to_binarised_data(raw: Path, tmp_path: Path) -> None:
    words = ("--corpus", "wmt14-en-de", "--raw", raw, "--data", "data", "--vocab-size", "900")
    done = call(ROOT / "scripts" / "prepare.sh", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # These are not the real archives, which is said once each.
    assert done.stderr.count("cannot be compared with published") == 2
    out = tmp_path / "data" / "raw"
    record = json.loads((out / "prepare.json").read_text())
    report = {part["name"]: part for part in json.loads((out / "report.json").read_text())["parts"]}
    assert list(report) == ["Europarl v7", "Common Crawl", "News Commentary v9"]
    assert [part["read"] for part in report.values()] == [1500, 1511, 500]
    crawl = report["Common Crawl"]
    expected = Counter([name for name, *_ in NOISE]) + Counter({"in valid or test": 3, "duplicate": 2})
    assert Counter(crawl["dropped"]) == expected
    for name, source, target in NOISE:
        assert {"line": crawl["examples"][name][0]["line"], "source": source, "target": target} in crawl["examples"][
            name
        ]
    kept = sum(part["kept"] for part in report.values())
    assert record["counts"] == {"train": kept, "valid": 200, "test": 200} and kept > 3300
    assert (out / "test.de").read_text().splitlines() == text("newstest-en-de/newstest2014", "de", 0, 200)
    for lang in ("en", "de"):
        assert (out / f"train.{lang}").read_text().count("\n") == kept
        assert (tmp_path / "data" / "bin" / f"train.en-de.{lang}.bin").is_file()

    checked = call(BIN / "lskd", "data", "verify", "data", cwd=tmp_path)
    assert checked.returncode == 0 and checked.stdout.count("unchanged") == 3, checked.stderr

    again = call(ROOT / "scripts" / "prepare.sh", *words, cwd=tmp_path)
    assert again.returncode == 0 and "data/raw: up to date" in again.stdout
