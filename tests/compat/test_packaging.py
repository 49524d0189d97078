"""The .pth file is in the wheel and in the editable wheel, and a Python that reads it has the hook."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import CHECKOUT, run, succeeded
from .test_hook import fake_fairseq

pytest.importorskip("setuptools.build_meta")
pytestmark = pytest.mark.skipif(
    not hasattr(__import__("setuptools.build_meta", fromlist=["x"]), "build_editable"), reason="old setuptools"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads, for builds leave folders behind."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("setup.py", "pyproject.toml", "_fairseq_lskd_hook.py"):
        shutil.copy(CHECKOUT / name, folder)
    for name in ("fairseq_lskd", "data-prep"):
        shutil.copytree(CHECKOUT / name, folder / name)
    return folder


@pytest.fixture(scope="module", params=["wheel", "editable"])
def site(request, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site-packages folder with nothing but our wheel, unpacked as pip does it."""
    folder = tmp_path_factory.mktemp(request.param)
    code = f"import sys; from setuptools import build_meta as b; print(b.build_{request.param}(sys.argv[1]))"
    succeeded(run([sys.executable, "-c", code, str(folder)], cwd=tree))
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_pth_is_at_the_root_and_comes_last(site):
    names = sorted(path.name for path in site.glob("*.pth"))
    assert names[-1] == "fairseq_lskd.pth"
    assert (site / names[-1]).read_text() == "import _fairseq_lskd_hook\n"
    (record,) = site.glob("*.dist-info/RECORD")
    assert "\nfairseq_lskd.pth," in "\n" + record.read_text()


def test_package_is_whole(site):
    if (site / "fairseq_lskd").exists():
        assert (site / "fairseq_lskd" / "compat" / "dataclass_defaults.py").exists()
        assert (site / "_fairseq_lskd_hook.py").exists()
        assert not (site / "tests").exists()
        corpora = site / "fairseq_lskd" / "data" / "corpora"
        assert {path.name for path in corpora.iterdir()} == {
            path.name for path in (CHECKOUT / "data-prep").glob("*.toml")
        }
    (entry_points,) = site.glob("*.dist-info/entry_points.txt")
    assert "lskd = fairseq_lskd.cli:main" in entry_points.read_text()


def test_python_with_that_site_mends_fairseq(site, tmp_path):
    fake_fairseq(tmp_path)
    code = (
        "import site, sys; site.addsitedir(sys.argv[1]); sys.path.insert(0, sys.argv[2])\n"
        "import fairseq; print(sys.modules['_fairseq_lskd_compat'].status['dataclass-defaults'])\n"
        "assert 'fairseq_lskd' not in sys.modules"
    )
    done = run([sys.executable, "-S", "-I", "-c", code, str(site), str(tmp_path)])
    assert succeeded(done).strip() == "applied"
    assert not done.stderr
