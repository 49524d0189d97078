"""Averaged checkpoints: their weights and other content, and the choice of checkpoints in a folder."""

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.modules import transformer_layer
from tiny import WIDER, batch, logits, make_model, make_task, save

from fairseq_lskd.cli import main
from fairseq_lskd.compat.pytorch_ddp import COPIES
from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers.average import average_checkpoints, last_checkpoints
from fairseq_lskd.teachers.checkpoint import without_copies


def plain(path, **weights):
    torch.save(
        {"model": weights, "cfg": {"model": {"n": 1}}, "last_optimizer_state": {"a": 1}, "epoch": path.name}, path
    )
    return path


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_mean_of_every_weight_in_its_dtype(tmp_path, dtype, count):
    parts = [torch.randn(3, 4).to(dtype) for _ in range(count)]
    paths = [plain(tmp_path / f"{i}.pt", weight=part, other=2 * part) for i, part in enumerate(parts)]
    wanted = (sum(part.double() for part in parts) / count).to(dtype)
    state = average_checkpoints(paths)
    assert state["model"]["weight"].dtype == dtype
    assert torch.equal(state["model"]["weight"], wanted)
    assert torch.equal(state["model"]["other"], 2 * wanted)


def test_sums_are_in_float64(tmp_path):
    """In float16, 2048 + 1 is 2048, and 60000 + 60000 is infinite."""
    paths = [plain(tmp_path / f"{i}.pt", w=torch.tensor([2048.0, 60000.0]).half()) for i in range(4)]
    paths += [plain(tmp_path / "last.pt", w=torch.tensor([2058.0, 60000.0]).half())]
    assert average_checkpoints(paths)["model"]["w"].tolist() == [2050, 60000]


def test_counters_are_those_of_the_last_checkpoint(tmp_path):
    paths = [
        plain(tmp_path / f"{i}.pt", steps=torch.tensor([i + 1]), flag=torch.tensor(i == 2), w=torch.tensor(float(i)))
        for i in range(3)
    ]
    model = average_checkpoints(paths)["model"]
    assert model["steps"].tolist() == [3] and model["steps"].dtype == torch.int64
    assert model["flag"].item() is True and model["w"].item() == 1


def test_other_content_is_that_of_the_last_checkpoint_without_the_optimizer(tmp_path):
    state = average_checkpoints([plain(tmp_path / f"{i}.pt", w=torch.ones(1)) for i in range(2)])
    assert state.keys() == {"model", "cfg", "epoch"} and state["epoch"] == "1.pt"


def test_inputs_are_not_changed(tmp_path):
    paths = [plain(tmp_path / f"{i}.pt", w=torch.full((2,), float(i))) for i in range(2)]
    before = [path.read_bytes() for path in paths]
    average_checkpoints(paths)
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize(
    "weights",
    [{"w": torch.ones(3)}, {"v": torch.ones(2)}, {"w": torch.ones(2), "v": torch.ones(1)}, {}],
    ids=["shape", "name", "one more", "none"],
)
def test_mixed_models(tmp_path, weights):
    first, second = plain(tmp_path / "a.pt", w=torch.ones(2)), plain(tmp_path / "b.pt", **weights)
    with pytest.raises(UserError, match=f"{second} is of another model than {first}"):
        average_checkpoints([first, second])


def test_tied_weights_stay_tied_in_value(bitext, tmp_path):
    """A shared embedding is saved under two names."""
    flags = ["--share-decoder-input-output-embed"]
    paths = [save(tmp_path / f"checkpoint{i}.pt", bitext, *flags, seed=i) for i in (1, 2)]
    model = average_checkpoints(paths)["model"]
    assert torch.equal(model["decoder.embed_tokens.weight"], model["decoder.output_projection.weight"])


def test_fairseq_loads_the_mean(bitext, tmp_path):
    paths = [save(tmp_path / f"checkpoint{i}.pt", bitext, *WIDER, seed=i) for i in (1, 2, 3)]
    torch.save(average_checkpoints(last_checkpoints(tmp_path, 3)), tmp_path / "mean.pt")
    (mean,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "mean.pt")])
    task = make_task(bitext)
    members = [make_model(task, *WIDER, seed=i) for i in (1, 2, 3)]
    by_hand = make_model(task, *WIDER)
    with torch.no_grad():
        for name, weight in by_hand.named_parameters():
            weight.copy_(sum(dict(model.named_parameters())[name].double() for model in members) / 3)
    sample = batch(task, range(4))
    assert torch.equal(logits(mean.eval(), sample), logits(by_hand.eval(), sample))
    assert len(paths) == 3


def remove_copies(monkeypatch):
    """Make encoder layers without fairseq 0.12.2's copies of weights, as in other publishers' fairseq 0.12.3."""
    layer = transformer_layer.TransformerEncoderLayerBase
    original = layer.__init__

    def without_copies(self, *args, **kwargs):
        original(self, *args, **kwargs)
        for name in COPIES:
            delattr(self, name)

    monkeypatch.setattr(layer, "__init__", without_copies)
    monkeypatch.setattr(layer, "_load_from_state_dict", torch.nn.Module._load_from_state_dict)


def decoded(path, bitext):
    """Load a model strictly, as fairseq-generate does, and return its logits."""
    (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)], strict=True)
    return logits(model.eval(), batch(make_task(bitext), range(4)))


def test_the_mean_loads_with_and_without_fairseqs_copies_of_weights(bitext, tmp_path, monkeypatch):
    path, mean = save(tmp_path / "checkpoint1.pt", bitext), tmp_path / "mean.pt"
    torch.save(average_checkpoints([path]), mean)
    copies = {f"encoder.layers.0.{name}" for name in COPIES}
    entries = [set(torch.load(file, weights_only=True)["model"]) for file in (path, mean)]
    assert entries[0] - entries[1] == copies and copies <= entries[0]
    wanted = decoded(path, bitext)
    assert torch.equal(decoded(mean, bitext), wanted)
    remove_copies(monkeypatch)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert torch.equal(decoded(mean, bitext), wanted)


def test_an_averaged_checkpoint_can_be_averaged(bitext, tmp_path):
    """Checkpoints with and without the copies are the same model."""
    paths = [save(tmp_path / "checkpoint1.pt", bitext), tmp_path / "mean.pt"]
    torch.save(average_checkpoints(paths[:1]), paths[1])
    once, twice = (average_checkpoints(some)["model"] for some in (paths[:1], paths))
    assert once.keys() == twice.keys() and all(torch.equal(once[name], twice[name]) for name in once)


def test_only_copies_are_left_out():
    """A user's model may have weights with the same names."""
    mine = {"encoder.layers.0.fc1_weight": 1, "encoder.layers.0.in_proj_weight": 2, "decoder.layers.0.fc1_weight": 3}
    assert without_copies(mine) == mine
    theirs = {"encoder.layers.0.fc1.weight": 4, "encoder.layers.0.self_attn.q_proj.weight": 5}
    assert without_copies(mine | theirs) == theirs | {"decoder.layers.0.fc1_weight": 3}


LAST = "checkpoint_last.pt"


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def names(paths):
    return [path.name for path in paths]


def test_newest_by_number_and_not_by_name(tmp_path):
    touch(tmp_path, *(f"checkpoint{n}.pt" for n in (2, 9, 10, 100)), "checkpoint_best.pt", "checkpoint_last.pt")
    assert names(last_checkpoints(tmp_path, 3)) == ["checkpoint9.pt", "checkpoint10.pt", "checkpoint100.pt"]


def test_updates_before_epochs(tmp_path):
    touch(tmp_path, "checkpoint1.pt", "checkpoint2.pt", "checkpoint_1_900.pt", "checkpoint_2_1000.pt")
    assert names(last_checkpoints(tmp_path, 2)) == ["checkpoint_1_900.pt", "checkpoint_2_1000.pt"]


def test_epochs_if_there_are_too_few_by_updates(tmp_path):
    touch(tmp_path, "checkpoint1.pt", "checkpoint2.pt", "checkpoint_2_1000.pt")
    assert names(last_checkpoints(tmp_path, 2)) == ["checkpoint1.pt", "checkpoint2.pt"]


def test_ties_are_in_a_fixed_order(tmp_path):
    """The same update may be saved in two epochs, at their border."""
    touch(tmp_path, "checkpoint_2_500.pt", "checkpoint_1_500.pt", "checkpoint_1_100.pt")
    assert names(last_checkpoints(tmp_path, 2)) == ["checkpoint_1_500.pt", "checkpoint_2_500.pt"]


@pytest.mark.parametrize(
    ("updates", "wanted"),
    [(1000, ["checkpoint_1_900.pt", "checkpoint_2_1000.pt"]), (1100, ["checkpoint_2_1000.pt", LAST])],
)
def test_checkpoint_last_counts_if_it_is_the_newest(tmp_path, updates, wanted):
    """fairseq writes no checkpoint_EPOCH_UPDATE.pt at an update that ends an epoch."""
    touch(tmp_path, "checkpoint_1_900.pt", "checkpoint_2_1000.pt")
    torch.save({"model": {}, "cfg": {"n": 1}, "optimizer_history": [{"num_updates": updates}]}, tmp_path / LAST)
    assert names(last_checkpoints(tmp_path, 2)) == wanted


@pytest.mark.parametrize("present", [[], ["checkpoint1.pt"], ["checkpoint_best.pt", "checkpoint_last.pt", "other3.pt"]])
def test_too_few_numbered_checkpoints_are_refused(tmp_path, present):
    touch(tmp_path, *present)
    with pytest.raises(UserError, match=r"fewer than 2 numbered checkpoints.*--keep-last-epochs 2"):
        last_checkpoints(tmp_path, 2)


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        (["checkpoint_1_900.pt", "checkpoint_2_1000.pt"], ["checkpoint_1_900.pt", "checkpoint_2_1000.pt"]),
        (["checkpoint1.pt", "checkpoint2.pt", "checkpoint_2_1000.pt"], ["checkpoint1.pt", "checkpoint2.pt"]),
        ([LAST, "checkpoint_best.pt"], [LAST]),
    ],
)
def test_or_fewer(tmp_path, present, wanted):
    touch(tmp_path, *present)
    assert names(last_checkpoints(tmp_path, 3, or_fewer=True)) == wanted


def test_or_fewer_without_any_checkpoint(tmp_path):
    touch(tmp_path, "checkpoint_best.pt")
    with pytest.raises(UserError, match="fewer than 3 numbered checkpoints"):
        last_checkpoints(tmp_path, 3, or_fewer=True)


def test_the_command_reports_that_there_were_fewer(tmp_path, capsys):
    plain(tmp_path / "checkpoint_1_10.pt", w=torch.ones(1))
    with pytest.raises(SystemExit, match="--or-fewer"):
        main(["average", str(tmp_path), "--last", "3"])
    assert main(["average", str(tmp_path), "--last", "3", "--or-fewer"]) == 0
    said = capsys.readouterr().err
    assert "only 1 of 3 checkpoints" in said and "--keep-interval-updates 3" in said
    assert torch.load(tmp_path / "checkpoint_average.pt", weights_only=True)["model"]["w"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["a.pt", "b.pt", "--last", "2"],
            "--last 2 chooses among the checkpoints of one folder, .* you gave a.pt b.pt",
        ),
        (["a.pt", "--last", "3"], "Leave --last 3 out to average these files, or give only the folder"),
        (["a.pt", "b.pt", "--or-fewer"], "--or-fewer chooses"),
        ([".", "a.pt", "--last", "1"], "--last 1 chooses .* you gave . a.pt"),
        (["none", "--last", "3", "--or-fewer"], "none: no such folder. --last 3 --or-fewer needs the folder"),
    ],
)
def test_options_for_a_folder_are_refused_with_files(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.pt", "b.pt")
    with pytest.raises(SystemExit, match=said):
        main(["average", *words, "--out", "mean.pt"])
    assert names(sorted(tmp_path.iterdir())) == ["a.pt", "b.pt"]
