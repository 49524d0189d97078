"""The record of how a model was trained. `lskd run` adds it to run.json when the training ends."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ..commands import number
from ..errors import UserError
from ..reading import COUNT, NUMBER, misfit

SCHEMA = 1  #: version of the record; a record of another version is derived again
_FACTS = (
    *("seed", "method", "teacher_smoothing", "temperature", "kd_weight", "cached", "reference_weight"),
    *("strategy", "score_temperature", "teacher_size"),
)
#: Facts that a row leaves out if they have these values.
_USUAL = {"divergence": "forward_kl", "kd_rest": "class", "label_smoothing": 0.0}
#: Labels and facts that may differ between runs of one setting.
_NO_SETTING = ("role", "seed", "temperature", "teacher_smoothing", "teacher_size")


class Budget(NamedTuple):
    """The limits of a training run, and the validation metric that selects its best checkpoint."""

    max_updates: int | None  #: None: no limit
    patience: int | None  #: number of validations without improvement that stop the training; None: no limit
    metric: str
    maximize: bool  #: whether larger values of the metric are better
    subset: str  #: the validation set


class Teacher(NamedTuple):
    """A teacher's checkpoint, and how it was trained."""

    sha256: str
    training: Training | None  #: None if the checkpoint was not found


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a checkpoint was trained, from its own options and the manifests of its inputs; None: not known.

    Only `labels`, and `role` where it comes from a label, were declared by a person (`lskd run --label`).
    """

    criterion: str | None = None  #: fairseq's name of it
    role: str | None = None  #: from the label; without a label, a model that had a teacher is a student
    method: str | None = None  #: none, word, sequence or both; None for criterions of other plug-ins
    seed: int | None = None
    label_smoothing: float | None = None  #: of the model's own training labels
    teachers: tuple[Teacher, ...] = ()  #: sorted by digest
    divergence: str | None = None
    temperature: float | None = None
    kd_weight: float | None = None
    kd_top_k: int | None = None  #: number of the teacher's types that are compared; None: all
    kd_rest: str | None = None  #: what becomes of the other types
    cache_bytes: int | None = None  #: bytes per token of an unbiased cache, which stands for all types
    reference_weight: float | None = None
    cached: bool | None = None  #: whether the training read a teacher cache
    strategy: str | None = None  #: strategy of `lskd select`
    score_temperature: float | None = None
    arch: str | None = None
    parameters: int | None = None
    budget: Budget | None = None
    course: dict[str, Any] = field(default_factory=dict)  #: see `derive.course`
    seconds: float | None = None  #: None if the training has not finished
    #: Language pairs of a multilingual training, each with the SHA-256 of its teachers; empty for a bilingual one.
    pairs: dict[str, list[str]] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)  #: SHA-256 of each binarised training file
    cache: str | None = None  #: SHA-256 of the teacher cache's manifest
    translations: str | None = None  #: SHA-256 of the manifest of the selected translations
    labels: dict[str, Any] = field(default_factory=dict)

    @property
    def teacher_smoothing(self) -> float | None:
        """The label smoothing of the teachers if all have the same; of a teacher, its own."""
        if self.role == "teacher":
            return self.label_smoothing
        smoothings = {None if each.training is None else each.training.label_smoothing for each in self.teachers}
        return smoothings.pop() if len(smoothings) == 1 else None

    @property
    def teacher_size(self) -> str | None:
        """The label `size` of the teachers if all have the same."""
        sizes = {None if each.training is None else each.training.labels.get("size") for each in self.teachers}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def facts(self) -> dict[str, Any]:
        """The known settings of the training, by the names of a result's fields."""
        found = {name: getattr(self, name) for name in _FACTS} | {"pairs": len(self.pairs) or None}
        if self.method not in (None, "none"):
            usual = {name: getattr(self, name) for name in _USUAL}
            found |= {name: value for name, value in usual.items() if value != _USUAL[name]}
        return {name: value for name, value in found.items() if value is not None}

    def described(self) -> dict[str, Any]:
        """Return the facts, and the labels whose names are not those of known facts."""
        first = {**dict.fromkeys(("role", "method", "teacher_smoothing", "temperature")), **self.facts}
        return {
            **first,
            **{name: value for name, value in self.labels.items() if first.get(name) is None},
            "role": self.role,
        }

    @property
    def setting(self) -> dict[str, Any]:
        """How the model was taught, without the teacher, the temperature and the seed."""
        found = {name: value for name, value in self.described().items() if value is not None}
        names = [name for name in (*self.facts, *_LABELLED) if name in found and name not in _NO_SETTING]
        return {name: found[name] if number(found[name]) is None else number(found[name]) for name in names}

    def check_labels(self, where: object) -> None:
        """Check that no label contradicts a fact.

        Raises:
            UserError: if one does. The message has both values.
        """
        wrong = [
            f"{name} {value} (label: {self.labels[name]})"
            for name, value in self.facts.items()
            if self.labels.get(name) is not None and not same(self.labels[name], value)
        ]
        if wrong:
            raise UserError(
                f"{where} was trained with {', '.join(wrong)}: labels of the run contradict the checkpoint. Run the "
                "training command again without these labels (it does not train again, it only rewrites run.json), or "
                "give the checkpoint that belongs to the run"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with the version of its schema."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        teachers = [
            {"sha256": sha256, "training": None if training is None else training.to_json()}
            for sha256, training in self.teachers
        ]
        budget = None if self.budget is None else self.budget._asdict()
        return {"schema": SCHEMA, **found, "teachers": teachers, "budget": budget}

    @classmethod
    def from_json(cls, value: Any) -> Training | None:
        """Convert the output of `to_json`. Return None for anything else, such as a record of another version."""
        if not isinstance(value, dict) or value.get("schema") != SCHEMA or misfit(value, _SHAPE):
            return None
        found = {each.name: value[each.name] for each in fields(cls) if each.name in value}
        teachers = tuple(Teacher(each["sha256"], cls.from_json(each["training"])) for each in value["teachers"])
        budget = None if value["budget"] is None else Budget(**{name: value["budget"][name] for name in Budget._fields})
        return cls(**{**found, "teachers": teachers, "budget": budget})


#: Facts that older records have only as labels.
_LABELLED = ("method", "size", "strategy", "cached", "kd_weight", "score_temperature", "reference_weight")
_NOTHING = type(None)
_TEXTS = ("criterion", "role", "method", "divergence", "strategy", "arch", "cache", "translations")
_LATER = {"kd_rest?": (str, _NOTHING), "cache_bytes?": (int, _NOTHING), "pairs?": {str: [str]}}  #: not in older records
_NUMBERS = ("label_smoothing", "temperature", "kd_weight", "reference_weight", "score_temperature", "seconds")
_COUNTS = ("seed", "kd_top_k", "parameters")
_SHAPE: dict[str, Any] = {
    **dict.fromkeys(_TEXTS, (str, _NOTHING)),
    **dict.fromkeys(_NUMBERS, (NUMBER, _NOTHING)),
    **dict.fromkeys(_COUNTS, (int, _NOTHING)),
    **{"cached": (bool, _NOTHING), "course": dict, "labels": dict, "data": {str: str}, **_LATER},
    "teachers": [{"sha256": str, "training": (dict, _NOTHING)}],
    "budget": (
        _NOTHING,
        {
            **{"max_updates": (COUNT, _NOTHING), "patience": (COUNT, _NOTHING)},
            **{"metric": str, "maximize": bool, "subset": str},
        },
    ),
}


#: fairseq's criterions without a teacher.
OF_FAIRSEQ = ("label_smoothed_cross_entropy", "cross_entropy")


def method_of(criterion: str | None, beside: bool) -> str | None:
    """Return how a criterion teaches, or None if it is neither of this package nor one of fairseq's without a teacher.

    Criterions of other plug-ins may have a teacher, so their method is not known.

    Args:
        beside: whether the criterion has a teacher or a teacher cache.
    """
    taught = {"word_kd": "word", "seq_kd": "both" if beside else "sequence"}
    return {**dict.fromkeys(("label_smoothed_teacher", *OF_FAIRSEQ), "none"), **taught}.get(criterion or "")


def same(label: Any, fact: Any) -> bool:
    """Return whether a label has the value of a fact, comparing numbers by value and text without case."""
    try:
        return float(label) == float(fact)
    except (TypeError, ValueError):
        return str(label).lower() == str(fact).lower()
