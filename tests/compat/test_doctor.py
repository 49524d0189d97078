"""`lskd doctor`: its output and exit status, also if packages are missing or broken."""

from __future__ import annotations

import importlib.util
import json
import os
import sys

import pytest

from fairseq_lskd import cli
from fairseq_lskd.cli import doctor
from fairseq_lskd.compat import openmp, versions

from .conftest import CHECKOUT, python, run, succeeded

LSKD = [sys.executable, "-m", "fairseq_lskd.cli"]


def bare(*arguments: str) -> list[str]:
    """Return the command line of `lskd` in a Python without site-packages, so without any other package."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from fairseq_lskd.cli import main; sys.exit(main(sys.argv[2:]))"
    )
    return [sys.executable, "-S", "-I", "-c", code, str(CHECKOUT), *arguments]


def test_a_sound_installation_has_no_problems(monkeypatch):
    for name in openmp.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    report = json.loads(succeeded(run([*LSKD, "doctor", "--json"], cwd=CHECKOUT)))
    assert report["problems"] == []
    lacks = importlib.util.find_spec("fairseq.libnat") is None
    assert ["levenshtein_transformer" in note for note in report["notes"]] == [True] * lacks
    assert report["hook"] is True
    assert report["fairseq_runs"] is True
    assert report["packages"]["fairseq"].startswith("0.12")
    assert report["user_dir"] == str(CHECKOUT / "fairseq_lskd")
    assert {patch["name"]: patch["status"] for patch in report["patches"]}["dataclass-defaults"] == "applied"
    assert "OMP_WAIT_POLICY=PASSIVE" in report["openmp"] and "set by fairseq_lskd" in report["openmp"]


def test_a_missing_libnat_is_a_note_and_no_problem(without):
    without("fairseq.libnat", "fairseq.libnat_cuda")
    report = {"fairseq_lskd": "", "python": "", "packages": {}, "devices": [], "openmp": "", "hook": True}
    said = doctor.as_text({**report, "patches": [], "user_dir": "", "problems": [], "notes": doctor.notes()})
    assert "\nnote           fairseq.libnat is missing" in said and "cmlm_transformer can" in said
    assert said.endswith("\nNo problems found.")


def test_without_the_hook():
    code = (
        "import sys; del sys.modules['_fairseq_lskd_hook']\n"
        "sys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != 'FairseqFinder']\n"
        "from fairseq_lskd.cli import main; sys.exit(main(['doctor']))"
    )
    done = python(code, cwd=CHECKOUT)
    assert done.returncode == 1, done.stderr
    assert "import hook    NOT active" in done.stdout
    assert "dataclass-defaults   NEEDED, not applied" in done.stdout
    assert "`import fairseq` fails: ValueError: mutable default" in done.stdout
    assert done.stdout.count(f"pip install --no-deps -e {CHECKOUT}") == 2
    assert "--force-reinstall" not in done.stdout


def test_with_nothing_installed():
    done = run(bare("doctor"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "torch          MISSING" in done.stdout
    assert "pip install --no-deps fairseq==0.12.2" in done.stdout
    assert 'pip install "hydra-core>=1.3,<1.4"' in done.stdout


def test_user_dir_alone(capsys):
    assert cli.main(["doctor", "--user-dir"]) == 0
    assert capsys.readouterr().out.strip() == str(CHECKOUT / "fairseq_lskd")


@pytest.fixture
def without(monkeypatch):
    """A function that hides modules."""
    find = importlib.util.find_spec

    def take(*names: str) -> None:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name in names else find(name, *rest)
        )

    return take


def test_one_package_missing(without, capsys):
    without("sentencepiece")
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "sentencepiece  MISSING" in out
    assert "1 problem:\n  1. sentencepiece is not installed" in out
    assert f'{sys.executable} -m pip install "sentencepiece"' in out


def test_an_unsuitable_version(monkeypatch):
    problems: list[dict[str, str]] = []
    package = versions.PACKAGES["hydra"]
    monkeypatch.setattr(versions.Package, "version", lambda self: "1.0.7")
    assert doctor.read_package(package, problems) == "1.0.7"
    assert problems[0]["what"] == "hydra-core is 1.0.7, expected >=1.3,<1.4"
    assert problems[0]["solution"].endswith('pip install "hydra-core>=1.3,<1.4"')


def installed(folder, name, version, module, code=""):
    """Install a distribution `name` that provides `module`."""
    (folder / module).mkdir(exist_ok=True)
    (folder / module / "__init__.py").write_text(code)
    facts = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "top_level.txt").write_text(f"{module}\n")


def another_build(folder, check, *names):
    """Run code where these distributions provide `fairseq`, and the usual one is not installed."""
    for name in names:
        installed(folder, name, "0.12.3.1", "fairseq", "import not_there_either")
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\nimport importlib.metadata as m\n"
        "from fairseq_lskd.compat import openmp, versions\nfrom fairseq_lskd.cli import main\n" + check
    )
    return run([sys.executable, "-S", "-I", "-c", code, str(folder), str(CHECKOUT)])


def test_version_of_another_build(tmp_path):
    check = "print(versions.version_of('fairseq'), versions.PACKAGES['fairseq'].version(), sep='; ')"
    out = succeeded(another_build(tmp_path, check, "fairseq-fixed"))
    assert out.strip() == "0.12.3.1 (fairseq-fixed); 0.12.3.1 (fairseq-fixed)"


def test_version_of_a_module_without_metadata_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "made_up_module.py").write_text("import not_there_either")
    monkeypatch.syspath_prepend(tmp_path)
    assert versions.version_of("made_up_module") == "of unknown version"


def test_two_builds_in_one_folder(tmp_path):
    done = another_build(tmp_path, "main(['doctor'])", "fairseq-fixed", "ve-fairseq")
    assert "installed 2 times, by fairseq-fixed and ve-fairseq" in done.stdout
    assert "pip uninstall -y fairseq-fixed ve-fairseq" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_build_that_needs_more_packages_than_fairseq(tmp_path):
    check = "with versions.what_is_missing():\n    import fairseq\n"
    done = another_build(tmp_path, check, "fairseq-fixed")
    assert done.returncode == 1
    assert "fairseq 0.12.3.1 (fairseq-fixed) needs not_there_either" in done.stderr
    assert "pip install not_there_either" in done.stderr and "Traceback" not in done.stderr
    assert versions.install_line("sklearn.metrics").endswith("pip install scikit-learn")


@pytest.mark.parametrize(
    ("module", "version", "suits"),
    [
        ("torch", "2.5.1+cu121", False),
        ("torch", "2.6.0", True),
        ("torch", "2.13.0a0+git1", True),
        ("omegaconf", "2.4.0", False),
        ("fairseq", "0.12.3", True),
        ("fairseq", "1.0.0a0+1", False),
        ("numpy", "1.26.4", True),
    ],
)
def test_supported_versions(module, version, suits):
    assert versions.PACKAGES[module].suits(version) is suits


def test_a_failed_patch_is_a_problem(monkeypatch):
    name = doctor.compat.PATCHES[0].NAME
    copy = type("copy", (), {"status": {name: "failed: KeyError('gone')"}})
    monkeypatch.setitem(sys.modules, doctor.PRIVATE_COMPAT, copy)
    problems: list[dict[str, str]] = []
    doctor.read_patches(problems)
    assert [item["what"] for item in problems] == [f"the patch {name} failed: KeyError('gone')"]


@pytest.mark.parametrize("name", ["fairseq", "torch", "sacrebleu"])
def test_commands_exit_with_a_message_if_a_package_is_missing(without, name):
    without(name)
    message = rf"{name} is not installed\. Get it with: .*pip install"
    with pytest.raises(SystemExit, match=message), versions.what_is_missing():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_other_missing_modules_raise_as_usual(without):
    with pytest.raises(ModuleNotFoundError), versions.what_is_missing():
        raise ModuleNotFoundError("No module named 'own.typo'", name="own.typo")
    # The package is installed but lacks the submodule, so installing it again would not help.
    with pytest.raises(ModuleNotFoundError), versions.what_is_missing():
        raise ModuleNotFoundError("No module named 'torch.typo'", name="torch.typo")


def test_a_missing_package_in_a_command(monkeypatch, without):
    without("torch")

    def run_without_torch(args):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(doctor, "run", run_without_torch)
    with pytest.raises(SystemExit, match="torch is not installed") as stopped:
        cli.main(["doctor"])
    assert os.linesep not in str(stopped.value)


def test_devices_of_simulated_gpus(monkeypatch):
    import types

    def torch_with(major: int):
        properties = types.SimpleNamespace(major=major, minor=0, name="GPU", total_memory=80 * 2**30)
        cuda = types.SimpleNamespace(
            is_available=lambda: True, device_count=lambda: 1, get_device_properties=lambda index: properties
        )
        return types.SimpleNamespace(cuda=cuda, version=types.SimpleNamespace(cuda="13.0", hip=None))

    found = {major: versions.devices(torch_with(major))[0] for major in (6, 7, 8)}
    assert [(found[major]["fp16"], found[major]["bf16"]) for major in (6, 7, 8)] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert found[8]["memory_gib"] == 80.0
    assert found[8]["capability"] == "8.0"
    assert versions.torch_build(torch_with(8)) == "CUDA 13.0"


def test_number_formats_are_tested():
    import torch

    before = torch.get_float32_matmul_precision()
    assert versions.precisions(torch, "cpu") == dict.fromkeys(versions.PRECISIONS, "works")
    # A device that does not exist fails in each format, without any other exception.
    found = versions.precisions(torch, "meta:1:2")
    assert all(said.startswith("fails: ") for said in found.values())
    assert torch.get_float32_matmul_precision() == before


def test_a_gpu_is_listed_with_the_formats_that_work(monkeypatch):
    gpu = {"device": "cuda:0", "name": "GPU", "memory_gib": 80.0, "capability": "9.0", "fp16": True, "bf16": False}
    monkeypatch.setattr(versions, "devices", lambda torch: [dict(gpu)])
    tried = {"float32": "works", "tf32": "works", "float16": "works", "bfloat16": "fails: not built for it"}
    monkeypatch.setattr(versions, "precisions", lambda torch, device: tried)
    report = doctor.examine()
    assert report["devices"][0]["precisions"] == tried and report["problems"] == []
    text = doctor.as_text(report)
    assert "GPU, 80.0 GiB, compute capability 9.0" in text
    assert "bfloat16 fails: not built for it" in text and "--bf16 no" in text
    monkeypatch.setattr(versions, "precisions", lambda torch, device: tried | {"float32": "fails: no kernel image"})
    assert "cuda:0 (GPU): a product in float32 fails: no kernel image" in doctor.examine()["problems"][0]["what"]
