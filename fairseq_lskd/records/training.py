"""How a model was trained: one record, which a run's run.json has from the end of its training on."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ..errors import UserError
from ..reading import COUNT, NUMBER, misfit

#: Of the record. One of another version is derived again.
SCHEMA = 1
_FACTS = (
    *("seed", "method", "teacher_smoothing", "temperature", "kd_weight", "cached", "reference_weight"),
    *("strategy", "score_temperature", "teacher_size"),
)
#: The value at which a row says nothing of it.
_USUAL = {"divergence": "forward_kl", "label_smoothing": 0.0}
#: What tells runs of one setting apart, and what is compared within a setting.
_NO_SETTING = ("role", "seed", "temperature", "teacher_smoothing", "teacher_size")


class Budget(NamedTuple):
    """How long a training may be, and by what it is judged."""

    max_updates: int | None  #: None: no limit
    patience: int | None  #: validations without a better one that end it; None: they do not
    metric: str  #: of validation, which the best checkpoint has
    maximize: bool  #: whether a larger value of it is a better one
    subset: str  #: the validation set that counts


class Teacher(NamedTuple):
    """A checkpoint that taught, and how it was trained itself."""

    sha256: str
    training: Training | None  #: None where the checkpoint was not to be found


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a checkpoint's own options and the manifests of its inputs say of its training; None where not known.

    Nothing in it was declared but `labels`, which are what a person called the run, and `role`.
    """

    criterion: str | None = None  #: fairseq's name of it
    role: str | None = None  #: what the model is for, which only a label says; who was taught is a student without one
    method: str | None = None  #: none, word, sequence or both; None of a criterion that is not ours
    seed: int | None = None
    label_smoothing: float | None = None  #: of its own labels
    teachers: tuple[Teacher, ...] = ()  #: in the order of their digests
    divergence: str | None = None  #: of the student from its teacher
    temperature: float | None = None
    kd_weight: float | None = None
    kd_top_k: int | None = None  #: the teacher's types that are compared; None: all
    reference_weight: float | None = None
    cached: bool | None = None  #: whether the teacher was a cache
    strategy: str | None = None  #: by which translations were selected
    score_temperature: float | None = None
    arch: str | None = None
    parameters: int | None = None
    budget: Budget | None = None
    course: dict[str, Any] = field(default_factory=dict)  #: see `derive.course`
    seconds: float | None = None  #: None while it is not finished
    data: dict[str, str] = field(default_factory=dict)  #: SHA-256 of the binarised training side, by file
    cache: str | None = None  #: SHA-256 of the teacher cache's manifest
    translations: str | None = None  #: SHA-256 of the manifest of the selected translations
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def teacher_smoothing(self) -> float | None:
        """The label smoothing of what taught, the same in all teachers; of a teacher its own."""
        if self.role == "teacher":
            return self.label_smoothing
        smoothings = {None if each.training is None else each.training.label_smoothing for each in self.teachers}
        return smoothings.pop() if len(smoothings) == 1 else None

    @property
    def teacher_size(self) -> str | None:
        """What a person called the size of what taught, the same in all teachers."""
        sizes = {None if each.training is None else each.training.labels.get("size") for each in self.teachers}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def facts(self) -> dict[str, Any]:
        """What had a part in it, by the fields of a result."""
        found = {name: getattr(self, name) for name in _FACTS}
        if self.method not in (None, "none"):
            usual = {name: getattr(self, name) for name in _USUAL}
            found |= {name: value for name, value in usual.items() if value != _USUAL[name]}
        return {name: value for name, value in found.items() if value is not None}

    def described(self) -> dict[str, Any]:
        """The facts, and beside them labels of other names."""
        first = {**dict.fromkeys(("role", "method", "teacher_smoothing", "temperature")), **self.facts}
        return {
            **first,
            **{name: value for name, value in self.labels.items() if first.get(name) is None},
            "role": self.role,
        }

    @property
    def setting(self) -> dict[str, Any]:
        """How it was taught, but for the teacher, the temperature and the seed."""
        found = {name: value for name, value in self.described().items() if value is not None}
        names = [name for name in (*self.facts, *_LABELLED) if name in found and name not in _NO_SETTING]
        return {name: found[name] if number(found[name]) is None else number(found[name]) for name in names}

    def check_labels(self, where: object) -> None:
        """Refuse labels that say something else.

        Raises:
            UserError: naming what each label and the checkpoint say.
        """
        wrong = [
            f"{name} {value} (label: {self.labels[name]})"
            for name, value in self.facts.items()
            if self.labels.get(name) is not None and not same(self.labels[name], value)
        ]
        if wrong:
            raise UserError(
                f"{where} was trained with {', '.join(wrong)}: its run's labels say otherwise. Call the command that "
                "trained it once more, without these labels (it trains nothing, and writes run.json anew), or name the "
                "checkpoint of that run"
            )

    def to_json(self) -> dict[str, Any]:
        """The record, with the version of its schema."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        teachers = [
            {"sha256": sha256, "training": None if training is None else training.to_json()}
            for sha256, training in self.teachers
        ]
        budget = None if self.budget is None else self.budget._asdict()
        return {"schema": SCHEMA, **found, "teachers": teachers, "budget": budget}

    @classmethod
    def from_json(cls, value: Any) -> Training | None:
        """What `to_json` returned; None of anything else, another version's record included."""
        if not isinstance(value, dict) or value.get("schema") != SCHEMA or misfit(value, _SHAPE):
            return None
        found = {each.name: value[each.name] for each in fields(cls)}
        teachers = tuple(Teacher(each["sha256"], cls.from_json(each["training"])) for each in value["teachers"])
        budget = None if value["budget"] is None else Budget(**{name: value["budget"][name] for name in Budget._fields})
        return cls(**{**found, "teachers": teachers, "budget": budget})


#: Facts of which older records have a label alone.
_LABELLED = ("method", "size", "strategy", "cached", "kd_weight", "score_temperature", "reference_weight")
_NOTHING = type(None)
_TEXTS = ("criterion", "role", "method", "divergence", "strategy", "arch", "cache", "translations")
_NUMBERS = ("label_smoothing", "temperature", "kd_weight", "reference_weight", "score_temperature", "seconds")
_COUNTS = ("seed", "kd_top_k", "parameters")
_SHAPE: dict[str, Any] = {
    **dict.fromkeys(_TEXTS, (str, _NOTHING)),
    **dict.fromkeys(_NUMBERS, (NUMBER, _NOTHING)),
    **dict.fromkeys(_COUNTS, (int, _NOTHING)),
    **{"cached": (bool, _NOTHING), "course": dict, "labels": dict, "data": {str: str}},
    "teachers": [{"sha256": str, "training": (dict, _NOTHING)}],
    "budget": (
        _NOTHING,
        {
            **{"max_updates": (COUNT, _NOTHING), "patience": (COUNT, _NOTHING)},
            **{"metric": str, "maximize": bool, "subset": str},
        },
    ),
}


def method_of(criterion: str | None, beside: bool) -> str | None:
    """How a criterion of ours teaches; None of others: what they train on may be a teacher's translations.

    Args:
        beside: whether it has a teacher, or the cache of one.
    """
    taught = {"word_kd": "word", "seq_kd": "both" if beside else "sequence"}
    return {"label_smoothed_teacher": "none", **taught}.get(criterion or "")


def same(label: Any, fact: Any) -> bool:
    """Whether a label says what a fact does, however it was written."""
    try:
        return float(label) == float(fact)
    except (TypeError, ValueError):
        return str(label).lower() == str(fact).lower()


def number(label: Any) -> float | None:
    """A fact or label as a number, if it is one however it was written."""
    try:
        return float(label)
    except (TypeError, ValueError):
        return None
