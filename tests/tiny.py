"""Helpers that build small tasks, models, criterions and trainers in the way fairseq's commands do."""

from __future__ import annotations

import functools
import random
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq import options, tasks
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer
from fairseq_cli import preprocess
from omegaconf import DictConfig, OmegaConf, open_dict

import fairseq_lskd.criterions  # noqa: F401  registers them

MODEL = shlex.split("""
    --arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-attention-heads 2 --decoder-attention-heads 2
    --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --dropout 0.1
""")
WIDER = shlex.split("--decoder-layers 2 --encoder-embed-dim 24 --decoder-embed-dim 24 --dropout 0.3")
TRAIN = shlex.split("--cpu --optimizer sgd --lr 0.5 --max-tokens 400 --seed 1 -s de -t en --num-workers 0")
ITERATOR = {"epoch": 1, "iterations_in_epoch": 0, "shuffle": False}


def binarise(folder: Path, *flags: str, languages: tuple[str, str] = ("de", "en")) -> Path:
    """Binarise generated sentences of 1 to 9 letters. Targets are reversed, in capitals, and end with END."""
    source, target = languages
    chance = random.Random(1)
    for split, count in (("train", 60), ("valid", 9)):
        rows = [chance.choices("abcdefghij", weights=range(1, 11), k=chance.randint(1, 9)) for _ in range(count)]
        (folder / f"{split}.{source}").write_text("".join(f"{' '.join(row)}\n" for row in rows))
        (folder / f"{split}.{target}").write_text("".join(f"{' '.join(row[::-1]).upper()} END\n" for row in rows))
    words = ["-s", source, "-t", target, "--trainpref", f"{folder}/train", "--validpref", f"{folder}/valid"]
    words += ["--destdir", f"{folder}/bin", "--workers", "1", "--padding-factor", "1"]
    preprocess.main(options.get_preprocessing_parser().parse_args([*words, *flags]))
    return folder / "bin"


def configure(
    data: Path, *flags: str, model: tuple[str, ...] = tuple(MODEL), training: tuple[str, ...] = tuple(TRAIN)
) -> DictConfig:
    """The configuration that `fairseq-train` makes of these flags."""
    return _configure(str(data), *model, *training, *flags)


@functools.cache
def _configure(*words: str) -> DictConfig:
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), list(words)))


def make_task(data: Path, *flags: str, training: tuple[str, ...] = tuple(TRAIN)) -> Any:
    """Make a task as fairseq-train does, with its data."""
    task = tasks.setup_task(configure(data, *flags, training=training).task)
    for split in ("train", "valid"):
        task.load_dataset(split)
    return task


def make_model(task: Any, *flags: str, seed: int = 2, scale: float = 3.0) -> Any:
    """Make a model with random weights, `scale` times as large as fairseq's, so that distributions are uneven."""
    return build_model(task, configure(Path(task.cfg.data), *flags), seed, scale)


def build_model(task: Any, cfg: DictConfig, seed: int = 2, scale: float = 3.0) -> Any:
    """Make the model of a configuration, for any task."""
    torch.manual_seed(seed)
    return uneven(task.build_model(cfg.model), scale)


def uneven(model: Any, scale: float = 3.0) -> Any:
    """Make a new model's weights noisy and larger."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight)).mul_(scale if weight.dim() > 1 else 1)
    return model


def make_criterion(task: Any, name: str, **settings: Any) -> Any:
    """Build a criterion as the task does, with default values for options that are not in `settings`."""
    cfg = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[name]())
    with open_dict(cfg):
        cfg = OmegaConf.merge(cfg, {"_name": name, "sentence_avg": False}, settings)
    return task.build_criterion(cfg)


def make_trainer(data: Path, task: Any, model: Any, criterion: Any, *flags: str) -> Trainer:
    return begin(configure(data, *flags), task, model, criterion)


def begin(cfg: DictConfig, task: Any, model: Any, criterion: Any) -> Trainer:
    """Make the trainer of a configuration, at the beginning of its first epoch."""
    trainer = Trainer(cfg, task, model, criterion)
    trainer.begin_epoch(1)
    return trainer


def write(path: Path, trainer: Trainer) -> Path:
    """Write a checkpoint as training does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(path), {"train_iterator": ITERATOR, "val_loss": 1.0})
    return path


def save(path: Path, data: Path, *flags: str, seed: int = 2) -> Path:
    """The checkpoint of a model with random weights."""
    task = make_task(data, *flags)
    model = make_model(task, *flags, seed=seed)
    criterion = make_criterion(task, "label_smoothed_teacher")
    return write(path, make_trainer(data, task, model, criterion, *flags))


def batch(task: Any, ids: Iterable[int], split: str = "train") -> dict[str, Any]:
    """Return these sentences as one batch. fairseq sorts them by length, so sample["id"] is shuffled."""
    dataset = task.dataset(split)
    return dataset.collater([dataset[i] for i in ids])


def set_aside(sample: dict[str, Any], padding: int) -> dict[str, Any]:
    """Return the batch with padding at all target tokens."""
    return {**sample, "target": torch.full_like(sample["target"], padding)}


def gradients(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of the parameters' gradients by name."""
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def backward(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the parameters' gradients of this loss alone, by name."""
    model.zero_grad()
    loss.backward()
    found = gradients(model)
    model.zero_grad()
    return found


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], tolerance: float = 0) -> None:
    """Check that names and values are equal: to the last bit, or to a tolerance in units of the largest value."""
    assert found.keys() == wanted.keys() and found
    unit = max(tensor.abs().max().item() for tensor in wanted.values())
    for name in wanted:
        difference = (found[name].double() - wanted[name].double()).abs().max().item()
        assert difference <= tolerance * unit, f"{name} differs by {difference:g}, largest value {unit:g}"
        assert tolerance or torch.equal(found[name], wanted[name]), name


def logits(model: Any, sample: dict[str, Any]) -> torch.Tensor:
    """Return the model's logits, `[B, T, K]`."""
    return model(**sample["net_input"])[0]


def assert_gradients(found: dict[str, torch.Tensor], model: Any, scores: torch.Tensor, slope: torch.Tensor) -> None:
    """Check that `found` are the model's gradients for the derivative `slope` with respect to its logits."""
    model.zero_grad()
    scores.backward(slope.to(scores))
    assert_same(found, gradients(model), tolerance=1e-5)
    model.zero_grad()


def summed(logs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sum logging outputs as fairseq sums them over workers."""
    return {key: sum(log[key] for log in logs) for key in logs[0]}
