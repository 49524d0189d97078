"""Each patch: what fails without it, that it works with it, and that it changes nothing that works already."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import pickle
import shutil
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import batch, make_model, make_task

from fairseq_lskd.compat import (
    checkpoint_copies,
    checkpoint_globals,
    dataclass_defaults,
    encoder_fastpath,
    finished_trainings,
    kept_patience,
    last_batch,
    library_warnings,
    numpy_removals,
    pytorch_ddp,
    score_files,
    standin,
    tensorboardx_notice,
    torch_version,
)

from .conftest import CHECKOUT, fairseq, python, run, succeeded
from .test_hook import fake_fairseq

#: Name of a patch -> (program that fails without it, part of the error message).
PROGRAMS = {
    "dataclass-defaults": ("import fairseq", "mutable default"),
    "cosine-period": (
        """
import fairseq
from fairseq.optim import FairseqOptimizer
from fairseq.optim.lr_scheduler.cosine_lr_scheduler import CosineLRSchedule, CosineLRScheduleConfig
class Optimizer(FairseqOptimizer):
    def __init__(self):
        pass
    def set_lr(self, lr):
        self.lr = lr
def rates(**options):
    schedule = CosineLRSchedule(CosineLRScheduleConfig(lr=[0.25], warmup_updates=2, **options), Optimizer())
    return [round(schedule.step_update(number), 6) for number in range(5)]
assert rates(max_update=6) == [0, 0.125, 0.25, 0.213388, 0.125]
assert rates(max_update=2)[:3] == [0, 0.125, 0.25]
""",
        "division by zero",
    ),
    "encoder-fastpath": (
        """
import fairseq, torch
from types import SimpleNamespace
from fairseq.models.transformer import TransformerConfig
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase
config = TransformerConfig()
config.encoder.embed_dim = config.encoder.ffn_embed_dim = 8
layer = TransformerEncoderLayerBase(config)
layer.load_state_dict(layer.state_dict())
layer.eval()
with torch.no_grad():
    layer(torch.zeros(3, 2, 8), torch.tensor([[False, False, True]] * 2))
""",
        "Mask Type should be defined",
    ),
    "torch-version": (
        """
import torch
own = torch.__version__
torch.__version__ = "2.13.0a0+git1234"
import fairseq
from fairseq.models.transformer import TransformerConfig
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase
try:
    TransformerEncoderLayerBase(TransformerConfig())
    assert torch.__version__ == "2.13.0a0+git1234"
finally:
    torch.__version__ = own
""",
        "invalid literal for int()",
    ),
    "bf16-on-gpu": (
        """
import fairseq
from fairseq import options
def parse(*flags):
    return options.parse_args_and_arch(options.get_training_parser(), ["data", "--arch", "transformer", *flags])
assert not parse("--bf16").tpu and not parse("--memory-efficient-bf16").tpu, "a TPU"
assert parse("--bf16", "--tpu").tpu and parse("--bf16").bf16 and not parse().tpu
validation = ["data", "--path", "x", "--task", "translation"]
options.parse_args_and_arch(options.get_validation_parser(), validation, suppress_defaults=True)  # as fairseq-validate
""",
        "a TPU",
    ),
    "bart-args": (
        """
import fairseq
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask as Task
task = object.__new__(Task)
task.cfg = "the options"
assert task.args == "the options"
""",
        "no attribute 'args'",
    ),
    "numpy-removals": (
        """
import fairseq, numpy
from fairseq.data import data_utils, language_pair_dataset
print(data_utils.get_buckets(numpy.array([3, 5, 9]), 2), language_pair_dataset.np.compat.long)
assert not hasattr(numpy, "float")
""",
        "interpolation",
    ),
}


def test_import_fails_without_it():
    done = python("import fairseq", skip="dataclass-defaults")
    assert done.returncode == 1
    assert "mutable default" in done.stderr


def test_each_fails_without_it():
    # One process for all of them, because starting Python takes most of the time.
    programs = {name: program for name, (program, _) in in_order() if name != "dataclass-defaults"}
    code = (
        f"import json; errors = {{}}\nfor name, program in {programs!r}.items():\n"
        "    try: exec(program, {})\n"
        "    except Exception as error: errors[name] = str(error)\n"
        "print(json.dumps(errors))"
    )
    errors = json.loads(succeeded(python(code, skip=",".join(programs))).splitlines()[-1])
    if "percentile" not in numpy_removals.lacking():
        del programs["numpy-removals"]
    found = {name: PROGRAMS[name][1] in errors.get(name, "") for name in programs}
    assert found == dict.fromkeys(programs, True), errors


def in_order():
    """Return the programs; the one that changes torch's version comes first, before a layer is built."""
    return sorted(PROGRAMS.items(), key=lambda item: item[0] != "torch-version")


def test_all_programs_succeed_with_the_patches():
    succeeded(python("\n".join(program for _, (program, _) in in_order())))


def test_score_files(tmp_path):
    text = tmp_path / "text"
    text.write_text("the cat sat on the mat\n")
    without = fairseq("score", "--sys", text, "--ref", text, "--sacrebleu", skip="score-files")
    assert "should be a sequence of strings" in without.stderr
    assert "BLEU = 100.00" in succeeded(fairseq("score", "--sys", text, "--ref", text, "--sacrebleu"))


def test_score_files_does_nothing_in_other_programs(monkeypatch):
    monkeypatch.delitem(sys.modules, "fairseq_cli.score", raising=False)
    assert not score_files.needed()


NOTICE = "Please install tensorboardX"


@pytest.fixture(scope="module")
def messages():
    """What a program prints to stderr, without the patches of messages and with them."""
    code = """
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
import fairseq.tasks.text_to_speech, logging, warnings
logging.getLogger("fairseq.tasks.text_to_speech").info("of another kind")
parser = options.get_training_parser()
convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, ["data", "--arch", "transformer"]))
warnings.warn("of the user's own code")
"""
    return tuple(python(code, skip=names).stderr for names in ("tensorboardx-notice,library-warnings", ""))


@pytest.mark.skipif(not tensorboardx_notice.needed(), reason="with tensorboardX there is no notice")
def test_the_notice_about_tensorboardx_is_left_out(messages):
    without, patched = messages
    assert NOTICE in without
    assert NOTICE not in patched and "of another kind" in patched


def test_warnings_to_the_authors_of_fairseq_are_not_shown(messages):
    without, patched = messages
    assert "hydra" in without and without.count("Warning") > 2
    assert "hydra" not in patched and patched.count("Warning") == 1 and "of the user's own code" in patched


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older Pythons do not show this warning")
def test_python_warns_of_strings_in_the_files_of_a_user_only():
    code = """
import fairseq
for file in ("/site-packages/fairseq/models/of_the_library.py", "/home/fairseq_extensions/of_the_user.py"):
    compile('"' + chr(92) + 'd"', file, "exec")
"""
    without, patched = (python(code, skip=names).stderr for names in ("library-warnings", ""))
    assert "of_the_library.py" in without and "of_the_user.py" in without
    assert "of_the_library.py" not in patched and "of_the_user.py" in patched


@pytest.mark.parametrize("name", ["script", "script_method"])
def test_a_warning_of_torch_about_scripting_is_not_shown(name: str) -> None:
    """torch 2.14 shows it for every command of fairseq, older versions do not."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        library_warnings.apply()
        warnings.warn(f"`torch.jit.{name}` is deprecated. Please switch.", FutureWarning, stacklevel=1)
        warnings.warn("of the user's own code", FutureWarning, stacklevel=1)
    assert [str(each.message) for each in shown] == ["of the user's own code"]


def test_a_user_who_asks_for_warnings_gets_them(monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    assert not library_warnings.needed()


# Checkpoints


class Innocent:
    """A harmless class that torch does not allow."""


def saved(value: object) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def patched():
    """fairseq in this process, patched by the hook, or here if there is no hook."""
    import fairseq
    import fairseq.checkpoint_utils

    if checkpoint_globals.needed():
        checkpoint_globals.apply()
    return fairseq


def test_checkpoint_loads_only_with_the_patch(checkpoint):
    code = (
        f"import fairseq, fairseq.checkpoint_utils as c; print(sorted(c.load_checkpoint_to_cpu({str(checkpoint)!r})))"
    )
    without = python(code, skip="checkpoint-globals")
    assert without.returncode == 1
    assert "Weights only load failed" in without.stderr
    assert "'extra_state'" in succeeded(python(code))


def test_checkpoint_has_numpy_arrays(checkpoint):
    # Otherwise the test above would not test that they load.
    assert b"_reconstruct" in checkpoint.read_bytes()


def examples():
    from fairseq.data import Dictionary
    from fairseq.logging import meters
    from omegaconf import OmegaConf

    yield argparse.Namespace(arch="transformer", lr=[0.1])
    yield np.array([1, 2, 3])
    yield np.array([0.5])
    yield np.float64(34.8)
    yield np.float32(1)
    yield np.bool_(True)
    yield OmegaConf.create({"a": [1, "b", None, 2.5, True], "c": {}})
    yield OmegaConf.create({"model": argparse.Namespace(a=1)}, flags={"allow_objects": True})
    yield Dictionary()
    yield meters.AverageMeter()
    yield meters.TimeMeter()
    yield meters.StopwatchMeter()


def test_objects_in_checkpoints_load(patched):
    for value in examples():
        loaded = torch.load(saved(value))
        assert type(loaded) is type(value)
        if not type(value).__module__.startswith("fairseq.logging"):
            assert np.all(loaded == value)


def test_scalar_written_by_numpy_1_loads(patched):
    old = pickle.dumps(np.float64(2.5), 2).replace(b"numpy._core", b"numpy.core")
    assert torch.load(io.BytesIO(torch_file(old))) == 2.5


def torch_file(data: bytes) -> bytes:
    """Return a checkpoint file with this pickle."""
    import zipfile

    original, changed = saved(None), io.BytesIO()
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, data if name.endswith("/data.pkl") else source.read(name))
    return changed.getvalue()


class Burglar:
    """An object that runs a command when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


def test_foreign_code_is_refused(patched, tmp_path):
    trace = tmp_path / "trace"
    with pytest.raises(pickle.UnpicklingError, match="system"):
        torch.load(saved({"model": {}, "args": Burglar(str(trace))}))
    assert not trace.exists()
    # Without the refusal, the file runs the command.
    torch.load(saved(Burglar(str(trace))), weights_only=False)
    assert trace.exists()


def test_foreign_class_is_refused(patched):
    with pytest.raises(pickle.UnpicklingError, match="Innocent"):
        torch.load(saved(Innocent()))


def test_object_arrays_cannot_smuggle_code_in(patched, tmp_path):
    trace = tmp_path / "trace"
    with pytest.raises(pickle.UnpicklingError):
        torch.load(saved(np.array([Burglar(str(trace))], dtype=object)))
    assert not trace.exists()


def test_checkpoint_globals_is_needed_once(patched):
    before = len(torch.serialization.get_safe_globals())
    assert not checkpoint_globals.needed()
    checkpoint_globals.apply()
    assert len(torch.serialization.get_safe_globals()) == before


def test_checkpoint_globals_not_needed_where_loads_are_not_restricted(monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setattr(torch.serialization, "get_safe_globals", lambda: [])
    assert not checkpoint_globals.needed()


# Copies of checkpoints


def test_a_kill_while_a_checkpoint_is_copied(tmp_path):
    code = """
import os, shutil
from fairseq.file_io import PathManager
def killed(source, target):
    with open(target, "wb") as stream: stream.write(b"ne")
    os._exit(9)
copyfile, shutil.copyfile = shutil.copyfile, killed
PathManager.copy("new.pt", "checkpoint_last.pt", overwrite=True)
"""
    (tmp_path / "new.pt").write_text("new")
    last = tmp_path / "checkpoint_last.pt"
    for skip, left in (("checkpoint-copies", "ne"), ("", "old")):
        last.write_text("old")
        assert python(code, skip=skip, cwd=tmp_path).returncode == 9
        assert last.read_text() == left
    # The next copy removes the temporary file that the kill left.
    succeeded(python(code.replace("= shutil.copyfile, killed", "= None, shutil.copyfile"), cwd=tmp_path))
    assert last.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_last.pt", "new.pt"]


@pytest.fixture
def file_io(patched, monkeypatch):
    """fairseq's module with a patched `PathManager`, with or without the hook."""
    module = sys.modules[checkpoint_copies.MODULE]
    monkeypatch.setattr(module.PathManager, "copy", staticmethod(module.PathManager.copy))
    checkpoint_copies.apply()
    return module


def test_copies_behave_as_without_the_patch(file_io, tmp_path, monkeypatch):
    copy = file_io.PathManager.copy
    new, last, kept = (tmp_path / name for name in ("new.pt", "last.pt", "kept.pt"))
    new.write_text("new")
    kept.write_text("old")
    last.symlink_to(kept)
    assert copy(str(new), str(last), overwrite=True) == str(last)
    assert last.is_symlink() and kept.read_text() == "new"
    assert copy(str(new), str(tmp_path / "other.pt")) and (tmp_path / "other.pt").read_text() == "new"
    assert copy(str(new), "/dev/null")
    with pytest.raises(shutil.SameFileError):
        copy(str(new), str(new))

    def full(source, target):
        Path(target).write_text("ne")
        raise OSError("No space left on device")

    kept.write_text("old")
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        copy(str(new), str(last), overwrite=True)
    assert kept.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.pt", "last.pt", "new.pt", "other.pt"]


def test_checkpoint_copies_is_needed_once(file_io, monkeypatch):
    copy = file_io.PathManager.copy
    assert not checkpoint_copies.needed()
    checkpoint_copies.apply()
    assert file_io.PathManager.copy is copy
    monkeypatch.setattr(file_io.PathManager, "copy", staticmethod(copy.__wrapped__))
    assert checkpoint_copies.needed()
    monkeypatch.setattr(file_io, "IOPathManager", object())
    assert not checkpoint_copies.needed()


# Dataclasses

CONFIGS = """
from dataclasses import dataclass, field
@dataclass
class FairseqDataclass:
    name: str = ""
@dataclass
class CommonConfig(FairseqDataclass):
    seed: int = 1
@dataclass
class FairseqConfig(FairseqDataclass):
    common: CommonConfig = {}
"""


def import_fake(folder, code):
    start = "import dataclasses, sys; original = dataclasses.dataclass; sys.path[:0] = sys.argv[1:]\n"
    start += "import _fairseq_lskd_hook, fairseq.dataclass.configs as c\n"
    return run([sys.executable, "-S", "-I", "-c", start + code, str(folder), str(CHECKOUT)])


def test_defaults_that_are_configs(tmp_path):
    code = """
assert dataclasses.dataclass is original and c.dataclass is original
assert c.FairseqConfig.__dataclass_fields__["common"].default == c.CommonConfig()
assert hash(c.CommonConfig(seed=1)) == hash(c.CommonConfig(seed=1))
@dataclasses.dataclass
class Own(c.FairseqDataclass):
    width: int = 1
@dataclasses.dataclass
class Nested(c.FairseqDataclass):
    own: Own = Own()
    other: Own = dataclasses.field(default=Own(width=2))
assert Nested().other.width == 2
print("fine")
"""
    assert succeeded(import_fake(fake_fairseq(tmp_path, CONFIGS.format("CommonConfig()")), code)).strip() == "fine"


def test_a_fork_with_factories_is_not_changed(tmp_path):
    code = "assert c.CommonConfig.__hash__ is None and c.dataclass is original; print('fine')"
    configs = CONFIGS.format("field(default_factory=CommonConfig)")
    assert succeeded(import_fake(fake_fairseq(tmp_path, configs), code)).strip() == "fine"


def test_only_dataclass_defaults_get_a_hash():
    @dataclasses.dataclass
    class Inner:
        pass

    class Owner:
        inner = dataclasses.field(default_factory=Inner)
        rows = dataclasses.field(default=None)

    dataclass_defaults.make_defaults_hashable(Owner)
    assert Inner.__hash__ is None
    Owner.inner = Inner()
    dataclass_defaults.make_defaults_hashable(Owner)
    assert hash(Inner()) == hash(Inner())


def test_sentences_of_the_last_batch(monkeypatch):
    def leaves_out(indices, num_tokens_fn, required_batch_size_multiple=1):
        rows = [indices[i : i + 8] for i in range(0, len(indices), 8)]
        return rows[:-1] if len(rows[-1]) % required_batch_size_multiple else rows

    build = SimpleNamespace(batch_by_size=leaves_out)
    monkeypatch.setitem(sys.modules, last_batch.MODULE, build)
    assert last_batch.needed()
    for _ in range(2):
        last_batch.apply()
    for count in (0, 1, 8, 11):
        batches = build.batch_by_size(iter(range(count)), lambda i: 1, required_batch_size_multiple=8)
        assert [i for row in batches for i in row] == list(range(count))
    assert not last_batch.needed()


# Other patches, if they are not needed


def test_fastpath_of_a_fork_that_does_not_call_the_function(monkeypatch):
    class TransformerEncoderLayerBase:
        def forward(self):
            pass

    monkeypatch.setitem(
        sys.modules, encoder_fastpath.MODULE, SimpleNamespace(TransformerEncoderLayerBase=TransformerEncoderLayerBase)
    )
    assert not encoder_fastpath.needed()


def test_fastpath_of_a_torch_without_mask_type(monkeypatch):
    monkeypatch.delitem(sys.modules, encoder_fastpath.MODULE, raising=False)
    overload = SimpleNamespace(_schema=SimpleNamespace(arguments=[SimpleNamespace(name="mask")]))
    function = SimpleNamespace(default=overload)
    monkeypatch.setattr(torch.ops.aten, "_transformer_encoder_layer_fwd", function, raising=False)
    assert not encoder_fastpath.needed()
    overload._schema.arguments.append(SimpleNamespace(name="mask_type"))
    assert encoder_fastpath.needed()


def test_pytorch_ddp_ignores_exactly_the_parameters_without_gradients(bitext):
    """A trained parameter that DDP ignores would differ between workers."""
    task = make_task(bitext)
    model = make_model(task)
    model(**batch(task, range(4))["net_input"])[0].square().sum().backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert sorted(pytorch_ddp.copies(model)) == sorted(without) and without


@pytest.mark.parametrize(
    ("version", "plain", "readable"),
    [
        ("2.13.0", "2.13.0", True),
        ("2.13.0+cu130", "2.13.0", True),
        ("2.14.0.dev20261101+cpu", "2.14.0", True),
        ("2.13.0a0+git1234", "2.13.0", False),
        ("2.13.0rc1", "2.13.0", False),
        ("2.13", "2.13.0", False),
    ],
)
def test_versions_of_torch(version, plain, readable):
    assert torch_version.readable(version) is readable
    assert torch_version.release(version) == plain


def test_standin_changes_one_name_in_one_module(tmp_path, monkeypatch):
    path = tmp_path / "uses_np.py"
    path.write_text("import numpy as np\nnumber = lambda: np.float(1)\nother = lambda: np.sqrt(4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("uses_np")
    assert standin.users(("uses_np", "not.there"), r"\bnp\.int\b") == []
    for _ in range(2):
        standin.replace(standin.users(("uses_np",), r"\bnp\.float\b"), "np", float=float)
    assert (module.number(), module.other()) == (1.0, 2.0)
    assert module.np.stands_in_for is np
    assert not hasattr(np, "float")


def test_a_module_without_source_matches_no_pattern(monkeypatch):
    monkeypatch.setitem(sys.modules, "made_up", ModuleType("made_up"))
    assert standin.users(("made_up",), "") == [sys.modules["made_up"]]
    assert standin.users(("made_up",), "np") == []


@pytest.mark.parametrize(
    ("options", "updates", "hours", "said"),
    [
        ({"max_update": 40}, 39, 0, None),
        ({"max_update": 40}, 40, 0, "num_updates: 40 >= max_update: 40"),
        ({"max_update": 0}, 40, 9, None),
        ({"max_update": 0, "stop_time_hours": 2}, 40, 1.9, None),
        ({"max_update": 0, "stop_time_hours": 2}, 40, 2.1, "2.10 hours > stop_time_hours: 2"),
    ],
)
def test_trainings_that_are_finished(options, updates, hours, said):
    trainer = SimpleNamespace(
        cfg=SimpleNamespace(optimization=SimpleNamespace(**{"stop_time_hours": 0, **options})),
        get_num_updates=lambda: updates,
        _previous_training_time=3600 * hours,
    )
    assert finished_trainings.reached(trainer) == said


@pytest.mark.parametrize(
    ("kept", "best", "patience", "counted", "ends"),
    [
        ({"best": 3.0, "count": 1}, 3.0, 2, 1, False),
        ({"best": 3.0, "count": 2}, 3.0, 2, 2, True),
        ({"best": 3.0, "count": 2}, 3.0, 5, 2, False),  # more patience than before
        ({"best": 3.0, "count": 2}, None, 2, None, False),  # fairseq restored no best value: a new training
        ({"best": 3.0, "count": 2}, 3.0, -1, None, False),
        (None, 3.0, 2, None, False),  # a checkpoint without the patch
        ("2", 3.0, 2, None, False),
    ],
)
def test_the_count_of_patience_is_restored(kept, best, patience, counted, ends, monkeypatch):
    saved = {}

    class Trainer:
        cfg = SimpleNamespace(checkpoint=SimpleNamespace(patience=2))

        def save_checkpoint(self, filename, extra_state):
            saved[filename] = extra_state

    def save_checkpoint():
        """fairseq keeps the best value in an attribute of this function."""

    def should_stop_early():
        """fairseq keeps the count in an attribute of this function."""

    found = {"best": 3.0} | ({} if kept is None else {"patience": kept})
    utils = ModuleType("made_up")
    utils.save_checkpoint, utils.load_checkpoint = save_checkpoint, lambda cfg, trainer: (found, "iterator")
    module = SimpleNamespace(Trainer=Trainer, checkpoint_utils=utils)
    monkeypatch.setitem(sys.modules, kept_patience.MODULE, module)
    monkeypatch.setitem(sys.modules, "fairseq_cli.train", SimpleNamespace(should_stop_early=should_stop_early))
    if best is not None:
        save_checkpoint.best = best
    assert kept_patience.needed()
    kept_patience.apply()
    kept_patience.apply()  # changes nothing
    _, iterator = utils.load_checkpoint(SimpleNamespace(patience=patience), None)
    assert isinstance(iterator, finished_trainings.Ended) == ends
    assert getattr(should_stop_early, "num_runs", None) == counted
    Trainer().save_checkpoint("x.pt", {"val_loss": 1.0})
    assert saved["x.pt"] == {"val_loss": 1.0} | ({"patience": kept} if counted is not None else {})
