"""The .pth file is in the wheel and in the editable wheel, and activates the hook."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
import zipfile
from email import message_from_string
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
    """A copy of the files that a build reads, because builds leave folders behind."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("setup.py", "pyproject.toml", "_fairseq_lskd_hook.py", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, folder)
    for name in ("fairseq_lskd", "data-prep"):
        shutil.copytree(CHECKOUT / name, folder / name)
    return folder


@pytest.fixture(scope="module", params=["wheel", "editable"])
def site(request, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site-packages folder with only our wheel, unpacked as pip does."""
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


def test_package_is_complete(site):
    if (site / "fairseq_lskd").exists():
        assert (site / "fairseq_lskd" / "compat" / "dataclass_defaults.py").exists()
        assert (site / "fairseq_lskd" / "py.typed").exists()
        assert (site / "_fairseq_lskd_hook.py").exists()
        assert not (site / "tests").exists()
        corpora = site / "fairseq_lskd" / "data" / "corpora"
        assert {path.name for path in corpora.iterdir()} == {
            path.name for path in (CHECKOUT / "data-prep").glob("*.toml")
        }
    (entry_points,) = site.glob("*.dist-info/entry_points.txt")
    assert "lskd = fairseq_lskd.cli:main" in entry_points.read_text()


def test_metadata_are_those_of_the_project(site):
    (path,) = site.glob("*.dist-info/METADATA")
    found = message_from_string(path.read_text(encoding="utf-8"))
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = re.search(r'__version__ = "(.*)"', (CHECKOUT / "fairseq_lskd" / "__init__.py").read_text())[1]
    assert (found["Name"], found["Version"], found["Summary"]) == ("fairseq_lskd", version, project["description"])
    assert found["License-Expression"] == "MIT" and found["Requires-Python"] == ">=3.11"
    required = [row for row in found.get_all("Requires-Dist") if "extra ==" not in row]
    assert len(required) == len(project["dependencies"]) and "PyYAML>=6.0" in required
    assert set(found.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert found.get_payload().strip() == (CHECKOUT / "README.md").read_text(encoding="utf-8").strip()


def test_python_with_that_site_patches_fairseq(site, tmp_path):
    fake_fairseq(tmp_path)
    code = (
        "import site, sys; site.addsitedir(sys.argv[1]); sys.path.insert(0, sys.argv[2])\n"
        "import fairseq; print(sys.modules['_fairseq_lskd_compat'].status['dataclass-defaults'])\n"
        "assert 'fairseq_lskd' not in sys.modules"
    )
    done = run([sys.executable, "-S", "-I", "-c", code, str(site), str(tmp_path)])
    assert succeeded(done).strip() == "applied"
    assert not done.stderr
