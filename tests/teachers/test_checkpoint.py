"""Reading files that are checkpoints, and files that are not: a message and no traceback; foreign code is not run."""

import errno
import io
import os
import pickle
import random
import zipfile
from argparse import Namespace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from fairseq import checkpoint_utils
from tiny import make_model

from fairseq_lskd.errors import UserError
from fairseq_lskd.records.parameters import count_parameters
from fairseq_lskd.teachers.checkpoint import is_weight, parameters, read_archive, read_checkpoint

STATE = {"model": {"weight": torch.arange(6.0)}, "cfg": {"model": {"dropout": 0.1}}}


def complaint(path):
    with pytest.raises(UserError) as error:
        read_archive(path)
    assert str(path) in str(error.value)
    return str(error.value)


def saved(state, **options):
    stream = io.BytesIO()
    torch.save(state, stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch(tmp_path, zipped):
    path = tmp_path / "a.pt"
    path.write_bytes(saved(STATE, _use_new_zipfile_serialization=zipped))
    assert zipfile.is_zipfile(path) == zipped
    state = read_archive(str(path))
    assert state["cfg"] == STATE["cfg"] and torch.equal(state["model"]["weight"], STATE["model"]["weight"])


def test_a_file_without_read_permission_is_not_called_corrupt(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    path.write_bytes(saved(STATE))
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    monkeypatch.setattr(torch, "load", Mock(side_effect=denied))
    said = complaint(path)
    assert "Permission denied" in said and "corrupt" not in said


def test_checkpoint_of_training(teacher_path):
    state = read_checkpoint(teacher_path)
    wanted = checkpoint_utils.load_checkpoint_to_cpu(str(teacher_path))
    assert state["cfg"]["task"]["target_lang"] == "en" and state["cfg"] == wanted["cfg"]
    assert all(
        torch.equal(state["model"][name], weight) for name, weight in wanted["model"].items() if "_float" not in name
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_options_of_older_versions_become_cfg(teacher_path, tmp_path, zipped):
    """Versions of fairseq before 0.10 saved `args`, a flat namespace."""
    state = read_archive(teacher_path)
    old = {**vars(state["cfg"]["model"]), "task": "translation", "source_lang": "de", "target_lang": "en"}
    path = tmp_path / "old.pt"
    torch.save({**state, "cfg": None, "args": Namespace(**old)}, path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)["cfg"]
    assert (found["task"]["source_lang"], found["task"]["target_lang"]) == ("de", "en")
    assert found["model"].decoder_embed_dim == 24


def test_no_file(tmp_path):
    assert "found nothing" in complaint(tmp_path / "x.pt")
    assert "found a folder" in complaint(tmp_path)
    for name in ("checkpoint_best.pt", "checkpoint_average.pt"):
        said = complaint(tmp_path)
        (tmp_path / name).touch()
    assert "Did you mean" not in said and "has checkpoint_best.pt." in said
    assert f"Did you mean {tmp_path}/checkpoint_average.pt? {tmp_path} has checkpoint_average.pt" in complaint(tmp_path)


def test_the_best_and_the_last_checkpoint_are_named_first(tmp_path):
    for name in (*(f"checkpoint{epoch}.pt" for epoch in range(1, 12)), "checkpoint_best.pt", "checkpoint_last.pt"):
        (tmp_path / name).touch()
    assert f"{tmp_path} has checkpoint_best.pt, checkpoint_last.pt, checkpoint1.pt" in complaint(tmp_path / "bst.pt")


@pytest.mark.parametrize("between", [",", " ", ", "])
def test_checkpoints_that_are_not_joined_by_colons(tmp_path, between):
    paths = [str(tmp_path / name) for name in ("a.pt", "b.pt")]
    for path in paths:
        Path(path).touch()
    assert f"Join several checkpoints by ':', as in {':'.join(paths)}." in complaint(Path(between.join(paths)))


def zip_of_text():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("notes/readme.txt", "hello")
    return stream.getvalue()


NEW, OLD = saved(STATE), saved(STATE, _use_new_zipfile_serialization=False)
NOT_CHECKPOINTS = {
    "empty": b"",
    "text": b"the cat sat on the mat\n",
    "JSON": b'{"model": 1, "cfg": 2}',
    "HTML": b"<!doctype html><html>404</html>",
    "zeros": bytes(1000),
    "a plain pickle": pickle.dumps({"model": {}, "cfg": {"a": 1}}),
    "a zip of something else": zip_of_text(),
    **{f"zip cut at {share:.0%}": NEW[: int(share * len(NEW))] for share in (0.01, 0.5, 0.99)},
    **{f"legacy cut at {share:.0%}": OLD[: int(share * len(OLD))] for share in (0.05, 0.5, 0.99)},
}


@pytest.mark.parametrize("kind", NOT_CHECKPOINTS)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_are_not_checkpoints(tmp_path, kind):
    path = tmp_path / "a.pt"
    path.write_bytes(NOT_CHECKPOINTS[kind])
    said = complaint(path)
    assert "is not a checkpoint or is corrupt" in said and said.endswith("Copy or train it again.")
    assert "foreign code" not in said and "Re-running" not in said and "no reason given" not in said


@pytest.mark.parametrize("source", [NEW, OLD, None], ids=["zip", "legacy", "noise"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damage_raises_no_other_exception(tmp_path, source):
    """Files with changed bytes, or only noise, are read (weights have no checksum) or refused."""
    chance, path, refused = random.Random(7), tmp_path / "a.pt", 0
    for _ in range(150):
        data = bytearray(source or chance.randbytes(chance.choice([1, 2, 5, 50])))
        for _ in range(chance.choice([1, 5, 30]) if source else 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            read_archive(path)
        except UserError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (torch.ones(3), "found Tensor"),
        ([1, 2], "found list"),
        ({"a": 1, "b": 2}, r"found a, b\."),
        ({"model": {}}, r"found model\."),
        ({"model": {}, "cfg": None, "args": None}, "found"),
        ({"model": 5, "cfg": {"a": 1}}, "found"),
        ({"state_dict": {}, "cfg": {"a": 1}}, r"found cfg, state_dict\."),
    ],
)
def test_files_of_other_programs(tmp_path, state, found):
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(UserError, match=f"is not a fairseq checkpoint: expected the keys 'model' and 'cfg'.*{found}"):
        read_archive(tmp_path / "a.pt")


class Payload:
    """An object that writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"echo owned > {self.mark}",))


class Foreign:
    """A harmless class that torch does not allow."""


@pytest.mark.parametrize("read", [read_archive, read_checkpoint])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["cfg", "extra", "model"])
def test_foreign_code_is_named_and_not_run(tmp_path, read, zipped, place):
    mark, path = tmp_path / "owned", tmp_path / "a.pt"
    torch.save({**STATE, place: Payload(mark)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"contains foreign code \((posix|nt)\.system\).*not run"):
        read(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # without protection, the code runs
    assert mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_foreign_class_is_named(tmp_path, zipped):
    path = tmp_path / "a.pt"
    torch.save({**STATE, "extra": Foreign()}, path, _use_new_zipfile_serialization=zipped)
    said = complaint(path)
    assert f"contains foreign code ({Foreign.__module__}.Foreign)" in said and "Re-running" not in said


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_not_run(tmp_path, protocol):
    mark, path = tmp_path / "owned", tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(Payload(mark), protocol=protocol))
    complaint(path)
    assert not mark.exists()


def test_a_file_of_the_same_form_from_another_program(tmp_path):
    # Vision models are often saved in this form.
    path = tmp_path / "a.pt"
    torch.save({"model": {"weight": torch.zeros(2)}, "args": Namespace(lr=0.1)}, path)
    with pytest.raises(UserError, match=r"a\.pt is not a fairseq checkpoint: KeyError"):
        read_checkpoint(path)


def test_a_shard_is_named_with_the_way_to_the_whole_model(teacher_path, tmp_path):
    state = torch.load(teacher_path, weights_only=True)
    shard = tmp_path / "checkpoint_last-shard0.pt"
    torch.save({**state, "fsdp_metadata": {"param_metadata": []}}, shard)
    for path in (shard, tmp_path / "checkpoint_last.pt"):
        with pytest.raises(UserError, match="--use-sharded-state") as caught:
            read_archive(path)
        assert str(shard) in str(caught.value)


def test_weights_and_other_entries():
    names = ["encoder.layers.0.fc1.weight", "decoder.layers.0.self_attn.in_proj_weight", "encoder.embed_tokens.weight"]
    others = ["encoder.layers.0.fc1_weight", "encoder.layers.11.in_proj_bias", "decoder.embed_positions._float_tensor"]
    others += ["encoder.version", "encoder.layers.0.self_attn.num_updates"]
    assert [name for name in names + others if is_weight(name)] == names


def test_parameters_are_those_that_a_model_computes_with(task):
    model = make_model(task, "--share-decoder-input-output-embed")
    assert parameters(model) == count_parameters(model.state_dict()) < sum(w.numel() for w in model.parameters())
