"""No code from a checkpoint's options runs: every evaluation and import in fairseq is covered; good options pass."""

from __future__ import annotations

import argparse
import ast
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils, file_utils
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY
from fairseq.optim import OPTIMIZER_DATACLASS_REGISTRY
from omegaconf import OmegaConf

from fairseq_lskd.compat import evaluated_options
from fairseq_lskd.compat.evaluated_options import EVALUATING, OPTIONS, problems
from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers.checkpoint import read_archive, read_checkpoint

from .conftest import fairseq, python, succeeded

PACKAGES = ("fairseq", "fairseq_cli")
CALLS = ("eval", "exec", "compile", "__import__", "import_module", "import_user_module", "run_path", "exec_module")
#: fairseq's functions that pass their argument to `eval`.
EVALUATORS = ("eval_str_list", "eval_str_dict", "eval_bool")

#: Calls that are harmless, and why.
TYPED = "the user's command line"
HARMLESS = {
    ("fairseq_cli.eval_lm", "eval(cfg.common_eval.model_overrides)"): TYPED,
    ("fairseq_cli.validate", "eval(getattr(override_args, 'model_overrides', '{}'))"): TYPED,
    ("fairseq.examples.criss.save_encoder", "eval(args.model_overrides)"): TYPED,
    ("fairseq.examples.discriminative_reranking_nmt.drnmt_rerank", "eval(args.model_overrides)"): TYPED,
    **{
        (f"fairseq_cli.{command}", "utils.import_user_module(cfg.common)"): TYPED
        for command in ("eval_lm", "generate", "interactive", "train", "validate")
    },
    ("fairseq_cli.preprocess", "utils.import_user_module(args)"): TYPED,
    ("fairseq.options", "utils.import_user_module(usr_args)"): TYPED,
    (
        "fairseq.hub_utils",
        "utils.import_user_module(argparse.Namespace(user_dir=kwargs['user_dir']))",
    ): "an argument of a program",
}
#: Options that are evaluated when the command line is parsed, so that checkpoints have values.
PARSED = {"x", "uf"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield the parsed modules of the installed fairseq, including its examples."""
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*.py")):
            steps = [package, *path.relative_to(root).with_suffix("").parts]
            yield ".".join(steps[:-1] if steps[-1] == "__init__" else steps), ast.parse(path.read_text("utf-8"))


def called(node: ast.AST) -> str:
    """Return the name of the function that a node calls; "" for methods such as `model.eval()`."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Name):
        return node.func.id
    found = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    return "" if found in ("eval", "exec", "compile") else found


@pytest.fixture(scope="module")
def calls() -> list[tuple[str, str, ast.Call]]:
    found = [
        (module, called(node), node)
        for module, tree in modules()
        for node in ast.walk(tree)
        if called(node) in (*CALLS, *EVALUATORS)
    ]
    assert len(found) > 60, "fairseq's source was not found"
    return [each for each in found if (each[0], ast.unparse(each[2])) not in HARMLESS]


def test_every_module_that_evaluates_gets_the_safe_eval(calls):
    # Examples run only if the user names them with --user-dir. Their options are checked nevertheless.
    found = {module for module, name, _ in calls if name == "eval" and ".examples." not in module}
    assert len(found) > 15
    assert found <= set(EVALUATING)


def test_every_option_that_is_evaluated_is_known(calls):
    unknown = set()
    for module, name, call in calls:
        if name not in ("eval", *EVALUATORS) or module == "fairseq.utils":
            continue
        argument = call.args[0]
        key = argument.slice if isinstance(argument, ast.Subscript) else argument
        option = getattr(key, "attr", None) or getattr(key, "id", None) or getattr(key, "value", None)
        lines_of_a_file = "line" in ast.unparse(argument)
        if option not in OPTIONS | PARSED and not lines_of_a_file:
            unknown.add((module, ast.unparse(call)))
    assert not unknown


def test_nothing_else_runs_or_imports_code_from_data(calls):
    left = {}
    for module, name, call in calls:
        if name == "import_module":
            # Names of files in a package's folder, after the package's name; or a constant.
            text = ast.unparse(call.args[0])
            if text == "module_name" and module == "fairseq.utils":
                continue  # import_user_module itself; its callers are in HARMLESS
            if isinstance(call.args[0], ast.Constant) or text.startswith(("'fairseq.", "namespace +", "__name__ +")):
                continue
        # Examples are programs, or user directories.
        if name not in ("eval", *EVALUATORS) and ".examples." not in module:
            left[module, ast.unparse(call)] = name
    assert not left


#: Other calls that run code or make objects from their input, and why data cannot reach them.
DANGEROUS = {
    "fairseq.data.fasta_dataset: shell=True": "with the path of fasta data, which only a flag selects",
    "fairseq.distributed.utils: pickle.loads": "with data from the other ranks of a training",
    "fairseq.data.audio.data_cfg: yaml.load": "with FullLoader, which makes no objects since PyYAML 5.4",
    "fairseq.file_utils: extractall": "handled by the patch archive-members",
}


def test_nothing_else_makes_objects_or_runs_code_from_data():
    found = set()
    for module, tree in modules():
        if ".examples." in module:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            function = ast.unparse(node.func)
            if function in ("pickle.load", "pickle.loads", "yaml.load", "os.system", "os.popen", "joblib.load"):
                found.add(f"{module}: {function}")
            if function.endswith(".extractall"):
                found.add(f"{module}: extractall")
            for keyword in node.keywords:
                argument = ast.unparse(keyword)
                if argument in ("shell=True", "allow_pickle=True", "weights_only=False"):
                    found.add(f"{module}: {argument}")
    assert found <= set(DANGEROUS)


@pytest.mark.parametrize(
    ("name", "error"),
    # Of an absolute name, the filter removes the root. Then fairseq moves the folder, as the members have no common
    # one, and tries to remove it.
    [("../../evil", tarfile.FilterError), ("/evil", FileNotFoundError)],
)
def test_members_of_a_models_archive_stay_in_their_folder(tmp_path, name, error, monkeypatch):
    archive = tmp_path / "inner/model.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as out:
        for member in ("model/a", f"model/{name}" if name.startswith(".") else str(tmp_path) + name):
            info = tarfile.TarInfo(member)
            info.size = 1
            out.addfile(info, io.BytesIO(b"x"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", "inner")
    with pytest.raises(error):
        file_utils.load_archive_file(str(archive))
    assert not [path for path in tmp_path.rglob("evil") if path.parent in (tmp_path, archive.parent)]


def test_the_modules_have_the_safe_eval():
    code = (
        "import importlib, sys, fairseq\n"
        f"for name in {EVALUATING!r}:\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError: continue\n"
        "    assert vars(sys.modules[name])['eval'].__name__ == 'evaluate', name\n"
        "from fairseq import utils\n"
        "print(utils.eval_str_list('[3, 4]', int), [utils.eval_bool(x, 5) for x in ('True', None, 1)])\n"
        "utils.eval_str_list('print(\"PWN\")')"
    )
    done = python(code)
    assert done.stdout.splitlines() == ["[3, 4] [True, 5, 5]"]
    assert "NotALiteral" in done.stderr


def test_the_options_of_every_architecture_pass():
    whole, texts = set(), set()
    for name, fill in ARCH_CONFIG_REGISTRY.items():
        parser = argparse.ArgumentParser(allow_abbrev=False, argument_default=argparse.SUPPRESS)
        ARCH_MODEL_REGISTRY[name].add_args(parser)
        filled, _ = parser.parse_known_args([])
        try:
            fill(filled)
            whole.add(name)
        except AttributeError:  # architectures that need options of others
            pass
        assert problems(filled) == [], name
        texts |= {option for option in OPTIONS if isinstance(getattr(filled, option, None), str)}
    assert len(whole) > 130
    for kind in (*MODEL_DATACLASS_REGISTRY.values(), *OPTIMIZER_DATACLASS_REGISTRY.values()):
        defaults = kind()
        assert problems(defaults) == [], kind
        texts |= {option for option in OPTIONS if isinstance(getattr(defaults, option, None), str)}
    assert {"encoder_layers", "conv_feature_layers", "downsample"} <= texts


EVIL = "__import__('os').system('touch PWN') or [1]"


@pytest.mark.parametrize("option", sorted(OPTIONS))
@pytest.mark.parametrize(
    "wrap",
    [
        lambda options: argparse.Namespace(**options),
        lambda options: {"model": argparse.Namespace(**options)},
        lambda options: {"model": {"w2v_args": {"model": options}}},
        lambda options: OmegaConf.create({"task": {"x": [options]}}),
        lambda options: OmegaConf.create({"task": {"hidden": EVIL}, "model": dict.fromkeys(options, "${task.hidden}")}),
    ],
)
def test_code_in_an_option_is_found_at_any_depth(option, wrap):
    (problem,) = problems(wrap({option: EVIL}))
    assert option in problem


def test_options_with_a_cycle():
    options = argparse.Namespace(encoder_layers=EVIL)
    options.again = [options]
    assert len(problems(options)) == 1


def test_words_and_numbers_pass():
    options = {"pretrained": "bert-base", "encoder_layers": 6, "decoder_attention": True, "adam_betas": "(0.9, 0.98)"}
    assert problems(options) == []


def test_devices_pipes_and_urls_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "vectors.txt").write_text("1 1\na 1\n")
    for name in (str(tmp_path / "pipe"), "/dev/zero", "http://example.org/vectors", "file:///etc/passwd"):
        assert len(problems({"encoder_embed_path": name})) == 1, name
    for name in (str(tmp_path / "vectors.txt"), str(tmp_path / "gone.txt"), "", None):
        assert problems({"encoder_embed_path": name}) == []


def poisoned(checkpoint: Path, out: Path, **options: object) -> Path:
    """Copy a checkpoint and change options of its model."""
    state = torch.load(checkpoint, weights_only=True)
    model = state["cfg"]["model"]
    for name, value in {"share_all_embeddings": False, **options}.items():
        setattr(model, name, value)
    torch.save(state, out)
    return out


@pytest.mark.parametrize(
    "options",
    [
        {"adaptive_softmax_cutoff": EVIL},
        {"_name": "fconv", "arch": "fconv", "encoder_layers": EVIL},
    ],
)
def test_our_readers_refuse_a_poisoned_checkpoint(teacher_path, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    bad = poisoned(teacher_path, tmp_path / "bad.pt", **options)
    for read in (read_archive, read_checkpoint):
        with pytest.raises(UserError, match=f"bad.pt.*{list(options)[-1]}"):
            read(bad)
    assert not (tmp_path / "PWN").exists()


def test_fairseq_refuses_a_poisoned_checkpoint_and_runs_nothing(teacher_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = poisoned(teacher_path, tmp_path / "bad.pt", adaptive_softmax_cutoff=EVIL)
    with pytest.raises(ValueError, match=r"bad\.pt.*adaptive_softmax_cutoff"):
        checkpoint_utils.load_checkpoint_to_cpu(str(bad))
    # With --model-overrides.
    state = checkpoint_utils.load_checkpoint_to_cpu(str(bad), {"adaptive_softmax_cutoff": None})
    assert state["cfg"]["model"].adaptive_softmax_cutoff is None
    # A checkpoint that is read in another way cannot be built either.
    state = torch.load(bad, weights_only=True)
    state["cfg"] = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
    with pytest.raises(ValueError, match="not evaluated"):
        checkpoint_utils.load_model_ensemble_and_task([str(bad)], state=state)
    assert not (tmp_path / "PWN").exists()


@pytest.mark.e2e
def test_fairseqs_commands_run_nothing(data, checkpoint, tmp_path):
    bad = poisoned(checkpoint, tmp_path / "bad.pt", adaptive_softmax_cutoff=EVIL)
    done = fairseq("generate", data, "--path", bad, "--cpu", "-s", "de", "-t", "en", cwd=tmp_path)
    assert not (tmp_path / "PWN").exists()
    assert done.returncode != 0
    assert "adaptive_softmax_cutoff" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_user_dir_that_a_checkpoint_records_is_not_imported(teacher_path, tmp_path):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/__init__.py").write_text("open('PWN', 'w')\n")
    state = torch.load(teacher_path, weights_only=True)
    state["cfg"]["common"]["user_dir"] = str(tmp_path / "evil")
    torch.save(state, tmp_path / "bad.pt")
    code = (
        "from fairseq import checkpoint_utils\n"
        "checkpoint_utils.load_checkpoint_to_cpu('bad.pt')\n"
        "from fairseq_lskd.teachers.checkpoint import read_checkpoint\n"
        "read_checkpoint('bad.pt')"
    )
    succeeded(python(code, cwd=tmp_path))
    assert not (tmp_path / "PWN").exists()


def test_the_patch_is_needed_once():
    assert not evaluated_options.needed()
