"""Tests of examples/vision: images, networks, and a small run."""

from __future__ import annotations

import csv
import json
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import distil
import lessons
import networks
import numpy as np
import pytest
import summary
import torch
from images import Images, cifar100, digits, shifted
from lessons import Sizes, intra_class_variance
from training import Schedule, from_labels, from_teacher, train

from fairseq_lskd.analysis.arrays import load_npz
from fairseq_lskd.errors import UserError


def write_cifar(folder: Path, count: int = 12, protocol: int = 2, **change: Any) -> Path:
    """Write files like CIFAR-100's Python version: pickles of dictionaries with keys of bytes."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    for name in ("train", "test"):
        content = {
            b"filenames": [b"a.png"] * count,
            b"batch_label": b"training batch 1 of 1",
            b"fine_labels": list(range(count)),
            b"coarse_labels": [0] * count,
            b"data": rng.integers(256, size=(count, 3072), dtype=np.uint8),
        }
        content |= {key.encode(): value for key, value in change.items()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))
    return folder


class TestImages:
    def test_digits_are_few_and_balanced(self) -> None:
        found = digits(30, 0.0, seed=1)
        assert found.train[0].shape == (30, 1, 8, 8) and len(found.valid[1]) == 1767
        assert found.train[1].bincount().tolist() == [3] * 10
        assert abs(found.train[0].mean().item()) < 1e-5 and found.train[0].std().item() == pytest.approx(1)
        again, other = digits(30, 0.0, seed=1), digits(30, 0.0, seed=2)
        assert torch.equal(found.train[0], again.train[0]) and not torch.equal(found.train[0], other.train[0])

    def test_label_noise_changes_only_its_share_of_training_labels(self) -> None:
        clean, noisy = digits(100, 0.0, seed=1), digits(100, 0.25, seed=1)
        assert torch.equal(clean.train[0], noisy.train[0])
        assert (clean.train[1] != noisy.train[1]).sum() == 25
        assert torch.equal(clean.valid[1], noisy.valid[1])

    @pytest.mark.parametrize("count", [9, 1698])
    def test_too_few_or_too_many(self, count: int) -> None:
        with pytest.raises(UserError, match=r"expected 10 to 1,697 of the 1,797 digits"):
            digits(count, 0.0, seed=1)

    def test_shifted_images(self) -> None:
        images = torch.arange(9.0).view(1, 1, 3, 3).repeat(64, 1, 1, 1) + 1
        found = shifted(images, 1, False, torch.Generator().manual_seed(1))
        middle = found[:, 0, 1, 1].unique().tolist()
        assert middle == list(range(1, 10))  # all shifts occur
        assert found.min() == 1 and found.shape == images.shape
        still = shifted(images, 0, True, torch.Generator().manual_seed(1))
        mirrored = (still == images.flip(3)).flatten(1).all(1)
        assert 16 < mirrored.sum() < 48 and torch.equal(still[~mirrored], images[~mirrored])

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_cifar100(self, protocol: int, tmp_path: Path) -> None:
        found = cifar100(write_cifar(tmp_path / "cifar-100-python", protocol=protocol))
        assert found.classes == 100 and found.train[0].shape == (12, 3, 32, 32)
        assert found.valid[1].tolist() == list(range(12))
        raw = np.random.default_rng(1).integers(256, size=(12, 3072), dtype=np.uint8)
        pixels = torch.from_numpy(raw.reshape(12, 3, 32, 32)).float() / 255
        wanted = (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std((0, 2, 3), keepdim=True)
        torch.testing.assert_close(found.train[0], wanted)

    def test_arrays_under_numpy_s_old_names_are_read(self, tmp_path: Path) -> None:
        folder = write_cifar(tmp_path / "c")
        for name in ("train", "test"):
            data = (folder / name).read_bytes()
            old = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            assert old != data
            (folder / name).write_bytes(old)
        assert len(cifar100(folder).train[1]) == 12

    def test_code_in_a_pickle_is_not_executed(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(tmp_path / "owned"),)

        folder = write_cifar(tmp_path / "c", data=Evil())
        assert any(op.name == "REDUCE" for op, *_ in pickletools.genops((folder / "train").read_bytes()))
        with pytest.raises(UserError, match=r"train: the file would call posix\.mkdir, expected only arrays and lists"):
            cifar100(folder)
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"data": np.zeros((12, 3), dtype=np.uint8)}, "expected 'data' of uint8, 3,072 numbers per image"),
            ({"fine_labels": [1]}, "expected 'fine_labels', one per row of 'data'"),
            ({"fine_labels": [100] * 12}, "expected fine labels from 0 to 99"),
        ],
    )
    def test_other_files(self, change: dict[str, Any], message: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=message):
            cifar100(write_cifar(tmp_path / "c", **change))

    def test_all_invalid_files_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "train").write_text("no pickle")
        with pytest.raises(UserError) as caught:
            cifar100(tmp_path)
        assert "train: not a file of CIFAR-100" in str(caught.value)
        assert "test: cannot be read (No such file or directory)" in str(caught.value)


class TestNetworks:
    def test_a_binary_convolution_uses_signs_with_a_scale_a_channel(self) -> None:
        conv = networks.BinaryConv2d(4)
        weight = conv.weight()
        for channel, latent in zip(weight, conv.latent, strict=True):
            assert channel.abs().unique().numel() == 1
            torch.testing.assert_close(channel.abs().max(), latent.abs().mean())
            assert torch.equal(channel.sign(), latent.sign())
        x = torch.randn(2, 4, 5, 5)
        assert torch.equal(conv(x), conv(3 * x))  # activations are signs too

    def test_gradients_go_straight_through(self) -> None:
        conv = networks.BinaryConv2d(2)
        with torch.no_grad():
            conv.latent[0, 0, 0, 0] = 1.5
        conv.weight().sum().backward()
        scale = conv.latent.detach().abs().mean((1, 2, 3), keepdim=True).expand_as(conv.latent).clone()
        scale[0, 0, 0, 0] = 0  # a latent weight beyond 1 gets no gradient
        torch.testing.assert_close(conv.latent.grad, scale)
        x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
        networks._Sign.apply(x).sum().backward()
        assert x.grad is not None and x.grad.tolist() == [0, 1, 2, 1, 0]
        assert networks._Sign.apply(torch.zeros(1)).item() == 1

    @pytest.mark.parametrize("make", [networks.convolutional, networks.binary])
    def test_images_become_logits_and_all_parameters_get_gradients(self, make: Any) -> None:
        network = make(3, 7, width=4, stages=3, blocks=1)
        assert network(torch.randn(2, 3, 16, 16)).shape == (2, 7)
        assert network.output.weight.shape == (7, 16)
        network(torch.randn(2, 3, 16, 16)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_losses_are_those_of_the_package() -> None:
    labels, log_probs = torch.tensor([1, 0]), torch.tensor([[0.3, 0.7], [0.5, 0.5]]).log()
    loss, reported, rest = from_labels(0.1)(torch.zeros(2), labels, log_probs)
    wanted = -(0.9 * torch.tensor([0.7, 0.5]).log() + 0.1 * torch.tensor([0.3, 0.5]).log())
    torch.testing.assert_close(loss, wanted)
    assert rest.tolist() == [0, 0] and torch.equal(reported, loss)
    teacher = networks.convolutional(1, 2, 2, 1, 1)
    images = torch.randn(2, 1, 4, 4)
    with torch.no_grad():
        says = torch.log_softmax(teacher.eval()(images), dim=-1)
    loss, reported, entropy = from_teacher(teacher)(images, labels, log_probs)
    torch.testing.assert_close(loss + entropy, -(says.exp() * log_probs).sum(1))
    assert torch.equal(reported, loss)
    torch.testing.assert_close(from_teacher(teacher)(images, labels, says)[0], torch.zeros(2), atol=1e-6, rtol=0)


def test_kl_and_cross_entropy_at_a_temperature() -> None:
    seen, held_out = ((torch.randn(size, 1, 4, 4), torch.arange(size) % 2) for size in (6, 2))
    images = Images("noise", 2, seen, held_out)
    teacher, student = (networks.convolutional(1, 2, 2, 1, 1) for _ in range(2))
    with torch.no_grad():
        teaches = torch.log_softmax(teacher.eval()(images.train[0]) / 3, dim=-1)
        says = torch.log_softmax(student.train()(images.train[0]) / 3, dim=-1)
    still = Schedule(1, batch=6, lr=0.0, shift=0)
    (epoch,) = train(student, images, from_teacher(teacher, 3.0), still, 1, torch.device("cpu"))
    assert epoch.loss == pytest.approx((teaches.exp() * (teaches - says)).sum(1).mean().item(), rel=1e-4)
    assert epoch.cross_entropy == pytest.approx(-(teaches.exp() * says).sum(1).mean().item(), rel=1e-4)


def test_one_minus_stability_by_hand() -> None:
    probs = torch.tensor([[1.0, 0], [0, 1], [0.5, 0.5]])
    assert intra_class_variance(probs, torch.tensor([0, 0, 1])) == 0.25  # of (1/2, 0), the classes' variances


def test_the_plot_has_means_and_ranges_over_seeds() -> None:
    rows = [
        {
            **{"kind": kind, "teacher_smoothing": smoothing, "seed": seed},
            "epochs": [{"loss": base + seed / epoch, "accuracy": 10 * base + seed + epoch} for epoch in (1, 2, 3)],
        }
        for kind, base in (("cnn", 1), ("binary", 2))
        for smoothing in (0.0, 0.1)
        for seed in (1, 3)
    ]
    panels = summary._draw(rows, 0.0, 0.1).axes
    losses = [line.get_ydata().tolist() for line in panels[0].lines]
    assert losses == [pytest.approx([3, 2, 1 + 2 / 3])] * 2  # base + 2 / epoch
    assert panels[3].lines[1].get_ydata().tolist() == [23, 24, 25]  # 20 + 2 + epoch
    band = panels[3].collections[1].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (22, 26)  # seed 1 after epoch 1, seed 3 after epoch 3


class TestCommand:
    def test_from_images_to_a_page(
        self, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lessons, "Sizes", lambda: Sizes((4, 2, 1), (2, 2, 1), (2, 2, 1)))
        out = tmp_path / "out"
        words = ["--out", str(out), "--seeds", "1", "2", "--epochs", "2", "--train", "20"]
        distil.main(words)
        said = capsys.readouterr().out
        assert "| student: binary network | accuracy, % |" in said
        record = json.loads((out / "rows.json").read_text())
        assert len(record["rows"]) == 2 * 8 and {row["kind"] for row in record["rows"]} == {"teacher", "cnn", "binary"}
        with (out / "curves.csv").open() as stream:
            assert sum(1 for _ in csv.reader(stream)) == 1 + 2 * 8 * 2
        saved = load_npz(out / "arrays" / "teacher-0.1-seed2.npz")
        assert saved.splits == ["train", "valid"] and saved.classes == 10 and saved.smoothing == 0.1
        assert saved.features is not None and saved.output_matrix is not None and saved.output_bias is not None
        logits = saved.features @ saved.output_matrix.T + saved.output_bias
        torch.testing.assert_close(torch.log_softmax(logits, dim=-1), saved.log_probs, atol=1e-4, rtol=1e-4)
        row = next(r for r in record["rows"] if r["system"] == "teacher-0.1" and r["seed"] == 2)
        valid = saved.of_split("valid")
        assert row["variance_valid"] == pytest.approx(intra_class_variance(valid.probs, valid.labels), rel=1e-4)
        assert row["accuracy"] == pytest.approx(100 * (valid.probs.argmax(1) == valid.labels).float().mean().item())
        # The same call does not train again. Other options need another folder.
        before = (out / "seed-1.json").stat().st_mtime_ns
        distil.main(words)
        assert (out / "seed-1.json").stat().st_mtime_ns == before
        page = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".md", ".csv")}
        # --redraw plots rounded rows, and gives the same plot each time.
        pictures = []
        for _ in range(2):
            for name in ("README.md", "curves.png", "table2.csv", "claims.csv"):
                (out / name).unlink()
            distil.main(["--redraw", str(out)])
            assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".md", ".csv")} == page
            pictures.append((out / "curves.png").read_bytes())
        assert pictures[0] == pictures[1]
        with pytest.raises(SystemExit, match=r"--redraw .*: expected an output folder with rows\.json and curves\.csv"):
            distil.main(["--redraw", str(tmp_path)])
        with pytest.raises(SystemExit, match=r"different settings \(label_smoothing\): give another --out"):
            distil.main([*words, "--label-smoothing", "0.2"])

    def test_all_wrong_flags_are_listed_and_nothing_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit) as caught:
            distil.main(["--out", str(tmp_path / "out"), "--data", "mnist", "--epochs", "0", "--label-smoothing", "1"])
        said = str(caught.value.code)
        assert said.startswith("distil.py: error: --data mnist: expected digits, or cifar100 and its folder")
        assert "--epochs 0: expected at least 1" in said and "--label-smoothing 1.0" in said
        assert not (tmp_path / "out").exists()
        with pytest.raises(SystemExit, match="--data cifar100"):
            distil.main(["--out", str(tmp_path / "out"), "--data", "cifar100", str(tmp_path)])
