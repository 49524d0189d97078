"""data-prep/multi30k.py, with a folder of one's own and without a network."""

import gzip
import hashlib
import importlib.util
import urllib.error
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORPORA = ROOT.parent / "shared" / "corpora"
spec = importlib.util.spec_from_file_location("multi30k", ROOT / "data-prep" / "multi30k.py")
multi30k = importlib.util.module_from_spec(spec)
spec.loader.exec_module(multi30k)


def text(name: str) -> bytes:
    return f"{name} one\n{name} two\n".encode()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The known digests are those of `text`."""
    files = {name: (hashlib.sha256(text(name)).hexdigest(), size) for name, (_, size) in multi30k.FILES.items()}
    monkeypatch.setattr(multi30k, "FILES", files)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    for name in multi30k.FILES:
        if name.endswith("de"):
            (folder / f"{name}.gz").write_bytes(gzip.compress(text(name)))
        else:
            (folder / name).write_bytes(text(name))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    monkeypatch.setattr("sys.argv", ["multi30k.py", *map(str, args)])
    return multi30k.main()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes | None]:
    """What a download brings, by name; None for a failure. The cache is a folder of its own."""
    served: dict[str, bytes | None] = {name: gzip.compress(text(name)) for name in multi30k.FILES}

    def download(url: str, path: str, progress: bool) -> None:
        name = url.removeprefix(multi30k.URL).removesuffix(".gz")
        data = served[name]
        if data is None:
            raise urllib.error.URLError("Name or service not known")
        Path(path).write_bytes(data)

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return served


def test_raw_folder(fake, raw: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("--raw went to the network")

    monkeypatch.setattr(multi30k, "fetch", no_network)
    assert run(monkeypatch, "--out", tmp_path / "out", "--raw", raw) == 0
    for given, split in (("train", "train"), ("val", "valid"), ("test_2016_flickr", "test")):
        for lang in ("de", "en"):
            assert (tmp_path / "out" / f"{split}.{lang}").read_bytes() == text(f"{given}.{lang}")
    captured = capsys.readouterr()
    assert "written" in captured.out and captured.err == ""
    assert run(monkeypatch, "--out", tmp_path / "out", "--raw", raw) == 0
    assert "up to date" in capsys.readouterr().out


def test_unknown_text_is_a_warning(raw: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "--out", tmp_path / "out", "--raw", raw) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 6
    assert warnings[0].startswith(f"multi30k.py: warning: {raw / 'train.de.gz'} is not the known text")


def test_everything_missing_is_said_at_once(fake, raw: Path, tmp_path: Path, monkeypatch) -> None:
    (raw / "val.en").unlink()
    (raw / "train.de.gz").write_bytes(b"no gzip")
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, "--out", tmp_path / "out", "--raw", raw)
    message = str(error.value)
    assert "val.en: not found, nor val.en.gz" in message and "train.de.gz: not a whole gzip file" in message
    assert not (tmp_path / "out").exists()


def test_misaligned_text_is_refused(raw: Path, tmp_path: Path, monkeypatch) -> None:
    (raw / "val.en").write_bytes(b"only one\n")
    with pytest.raises(SystemExit, match=r"valid\.en has 1 lines, valid\.de has 2"):
        run(monkeypatch, "--out", tmp_path / "out", "--raw", raw)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given"]


def test_download_is_cached(fake, network, tmp_path: Path, monkeypatch) -> None:
    assert run(monkeypatch, "--out", tmp_path / "a") == 0
    network.update(dict.fromkeys(network))  # gone
    assert run(monkeypatch, "--out", tmp_path / "b") == 0
    assert (tmp_path / "b" / "test.en").read_bytes() == text("test_2016_flickr.en")


def test_no_network(fake, network, tmp_path: Path, monkeypatch) -> None:
    network.update({"val.de": None, "train.en": None})
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, "--out", tmp_path / "out")
    message = str(error.value)
    assert f"cannot be fetched from {multi30k.URL}" in message
    assert "val.de.gz (24,681 bytes): Name or service not known" in message
    assert "train.en.gz (568,929 bytes)" in message and "val.en" not in message and "--raw" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("data", [gzip.compress(b"other\n"), b"<html>captive portal</html>"])
def test_wrong_download_is_removed(fake, network, tmp_path: Path, monkeypatch, data: bytes) -> None:
    network["val.de"] = data
    with pytest.raises(SystemExit, match=r"val\.de\.gz: .*; removed"):
        run(monkeypatch, "--out", tmp_path / "out")
    cached = {path.name for path in (tmp_path / "cache").rglob("*.gz")}
    assert "val.de.gz" not in cached and len(cached) == 5 and not (tmp_path / "out").exists()
    network["val.de"] = gzip.compress(text("val.de"))
    assert run(monkeypatch, "--out", tmp_path / "out") == 0


@pytest.mark.skipif(not (CORPORA / "multi30k").is_dir(), reason=f"no {CORPORA.name}/multi30k beside the checkout")
def test_the_real_files_have_the_pinned_digests(tmp_path: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "--out", tmp_path / "out", "--raw", CORPORA / "multi30k") == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "out" / "train.de").read_bytes().count(b"\n") == 29_000
