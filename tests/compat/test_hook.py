"""The import hook: it is cheap, ignores other names, and warns if it fails."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from fairseq_lskd import compat

from .conftest import CHECKOUT, python, run, succeeded

HOOK = CHECKOUT / "_fairseq_lskd_hook.py"
HEAVY = ["torch", "numpy", "fairseq", "fairseq_lskd", "_fairseq_lskd_compat", "omegaconf", "dataclasses", "inspect"]


def fake_fairseq(folder: Path, configs: str = "") -> Path:
    """Make a package fairseq with only a module of configs."""
    (folder / "fairseq" / "dataclass").mkdir(parents=True)
    (folder / "fairseq" / "__init__.py").write_text("import fairseq.dataclass.configs\n")
    (folder / "fairseq" / "dataclass" / "__init__.py").write_text("")
    (folder / "fairseq" / "dataclass" / "configs.py").write_text(configs)
    return folder


def test_start_of_python_has_the_hook_and_imports_nothing_heavy():
    code = f"import sys; print('_fairseq_lskd_hook' in sys.modules, [m for m in {HEAVY} if m in sys.modules])"
    assert succeeded(python(code)).strip() == "True []"


def test_hook_needs_sys_only():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "import _fairseq_lskd_hook; print(sorted(set(sys.modules) - before))"
    )
    done = run([sys.executable, "-S", "-I", "-c", code, str(CHECKOUT)])
    assert succeeded(done).strip() == "['_fairseq_lskd_hook']"


@pytest.mark.parametrize("name", ["fairseq_lskd", "fairseq.models", "fair", "torch"])
def test_other_names_are_ignored(name, monkeypatch):
    spec = importlib.util.spec_from_file_location("hook_under_test", HOOK)
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    monkeypatch.setattr(hook, "load_compat", lambda: pytest.fail("loaded"))
    finder = hook.FairseqFinder()
    assert finder.find_spec(name) is None
    assert not finder.done


def test_without_fairseq_the_import_fails_as_usual():
    # -S: no site-packages, so no fairseq.
    code = "import sys; sys.path.insert(0, sys.argv[1]); import _fairseq_lskd_hook; import fairseq"
    done = run([sys.executable, "-S", "-I", "-c", code, str(CHECKOUT)])
    assert done.stderr.strip().endswith("ModuleNotFoundError: No module named 'fairseq'")
    assert "Warning" not in done.stderr


def test_a_hook_without_patches_warns(tmp_path):
    shutil.copy(HOOK, fake_fairseq(tmp_path))
    code = "import sys; sys.path.insert(0, sys.argv[1])\nimport _fairseq_lskd_hook, fairseq; print(fairseq.__file__)"
    done = run([sys.executable, "-S", "-I", "-c", code, str(tmp_path)])
    assert str(tmp_path) in succeeded(done)
    assert "RuntimeWarning: fairseq_lskd could not patch fairseq" in done.stderr


def test_importing_fairseq_leaves_the_name_of_the_user_dir_free():
    code = (
        "import fairseq, inspect, sys\n"
        "from fairseq.modules import transformer_layer\n"
        "assert 'fairseq_lskd' not in sys.modules\n"
        "assert 'class TransformerEncoderLayerBase' in inspect.getsource(transformer_layer)\n"
        "assert 'exec_module' not in vars(transformer_layer.__loader__)\n"
        "print(sorted(set(sys.modules['_fairseq_lskd_compat'].status.values())))"
    )
    assert "applied" in succeeded(python(code))


def test_spawned_workers_have_the_hook_too(tmp_path):
    script = tmp_path / "spawn.py"
    script.write_text(
        "import multiprocessing\n"
        "def work(_):\n"
        "    import fairseq\n"
        "    return fairseq.__version__\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print('worker:', pool.map(work, [0])[0])\n"
    )
    assert "worker: 0.12" in succeeded(run([sys.executable, str(script)]))


class Patch:
    """A patch with a chosen behaviour."""

    NAME, NEEDED_BY, MODULES, WHEN = "made-up", "nothing works", ("made.up",), "after"

    def __init__(self, needed: bool = True, error: Exception | None = None) -> None:
        self.is_needed, self.error, self.applied = needed, error, 0

    def needed(self) -> bool:
        return self.is_needed

    def apply(self) -> None:
        if self.error:
            raise self.error
        self.applied += 1


@pytest.fixture
def status(monkeypatch):
    monkeypatch.setattr(compat, "status", {Patch.NAME: "waiting"})
    monkeypatch.setattr(compat, "PATCHES", (*compat.PATCHES, Patch()))
    return compat.status


def test_a_patch_that_fails_gives_a_warning(status):
    with pytest.warns(RuntimeWarning, match=r"'made-up'.*nothing works.*LSKD_COMPAT_SKIP=made-up"):
        compat.patch_if_needed(Patch(error=KeyError("gone")))
    assert status[Patch.NAME] == "failed: KeyError('gone')"


def test_a_patch_is_applied_only_if_needed(status):
    patch = Patch(needed=False)
    assert compat.patch_if_needed(patch) == "not needed"
    assert patch.applied == 0
    patch.is_needed = True
    assert compat.patch_if_needed(patch) == "applied"
    assert patch.applied == 1


@pytest.mark.parametrize("names", ["made-up", "other, made-up", "all"])
def test_a_patch_can_be_left_out(status, monkeypatch, names):
    monkeypatch.setenv("LSKD_COMPAT_SKIP", names.replace("other", "score-files"))
    patch = Patch()
    assert compat.patch_if_needed(patch) == "skipped"
    assert patch.applied == 0


def test_an_unknown_name_of_a_patch_gives_a_warning(monkeypatch):
    monkeypatch.setenv("LSKD_COMPAT_SKIP", "typo")
    with pytest.warns(RuntimeWarning, match=r"LSKD_COMPAT_SKIP.*typo\..*checkpoint-copies, checkpoint-globals"):
        compat.skipped()
