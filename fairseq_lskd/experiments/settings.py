"""Read and check an experiment's YAML file and its scale. All mistakes are reported at once."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.writing_systems import check_tokeniser
from ..errors import UserError, meant
from ..names import PLAIN, is_plain
from ..reading import misfit, read_yaml, shown
from .preparation import wrong_data

MOST = 10_000  #: maximum number of combinations of one entry

_NUMBER = (int, float)
#: Keys of a file, and the types of their values.
_EXPERIMENT = {"title": str, "seeds": list, "teachers": list, "students": list, "train": list, "scales": dict}
_EXPERIMENT |= {"tokenize": str}
_SCALE = {
    **{"corpus": str, "languages": list, "prepare": list, "recipe": str, "data": str, "seeds": list, "train": list},
    **{"translate": list, "score": list, "tokenize": str, "tests": dict, "teachers": list, "students": list},
    "hours": bool,
}
_TEACHER = {"label_smoothing": _NUMBER, "size": str}
_STUDENT = {
    **{"method": str, "size": str, "cached": bool, "strategy": str, "temperature": _NUMBER, "kd_weight": _NUMBER},
    **{"score_temperature": _NUMBER, "reference_weight": _NUMBER, "samples": int, "options": str},
    **{"cache_top_k": int, "cache_bytes": int, "filter_worst": _NUMBER},
}
_WORD = {"temperature", "kd_weight", "options"}
_SEQUENCE = {"strategy", "score_temperature", "reference_weight", "samples", "filter_worst", "options"}
#: Options that import a path or load a pickle, and so run code.
IMPORTING = ("--user-dir", "--comet-model")
_SHARE, _POSITIVE = (lambda value: 0 <= value <= 1, "from 0 to 1"), (lambda value: 0 < value < math.inf, "above 0")
#: Key -> a test of the range of its number, and the range in words.
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "label_smoothing": (lambda value: 0 <= value < 1, "from 0 to below 1"),
    **{"temperature": _POSITIVE, "score_temperature": _POSITIVE, "kd_weight": _SHARE, "reference_weight": _SHARE},
    **{"cache_top_k": _POSITIVE, "cache_bytes": _POSITIVE, "samples": (lambda value: value > 1, "from 2")},
    "filter_worst": (lambda value: 0 < value < 1, "between 0 and 1"),
}
_STRATEGIES = ("1-best", "nearest", "n-best", "mbr", "mbr-n")
#: Method -> the keys that it allows.
METHODS = {
    "none": set[str](),
    "word": _WORD | {"cached", "cache_top_k", "cache_bytes"},
    "sequence": _SEQUENCE,
    "both": _WORD | _SEQUENCE | {"cached", "cache_top_k", "cache_bytes"},
}


@dataclass
class Settings:
    """An experiment at a scale. Teachers and students are dictionaries with one value per key."""

    name: str
    title: str
    seeds: list[int]
    teachers: list[dict[str, Any]]
    students: list[dict[str, Any]]
    corpus: str
    languages: tuple[str, str]
    prepare: list[str]
    recipe: str
    data: str
    train: list[str]  #: more options of fairseq-train, those of the scale first
    translate: list[str]  #: more options of `lskd translate`
    score: list[str]  #: more options of `lskd record`
    tests: dict[str, str | None]  #: further test sets, and sacreBLEU's name of each
    hours: bool  #: whether to estimate the hours before the experiment starts
    apart: bool  #: whether it cannot share runs, because it trains with other options on shared data


def expand(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every combination of the values of keys with a list. The last key changes fastest."""
    lists = [value if isinstance(value, list) else [value] for value in entry.values()]
    for values in itertools.product(*lists):
        yield dict(zip(entry, values, strict=True))


def find(experiment: str, folder: Path) -> Path:
    """Return the file of an experiment, given as a path or as a name in `folder`."""
    path = Path(experiment)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise UserError(f"{experiment}: no such file")
    if (folder / f"{experiment}.yaml").is_file() and experiment != "scales":
        return folder / f"{experiment}.yaml"
    known = [path.stem for path in folder.glob("*.yaml") if path.stem != "scales"]
    known = sorted([*known, *(path.parent.name for path in folder.glob("*/Snakefile"))])
    near = meant(experiment, known, cutoff=0.8)
    expected = f"expected a YAML file, or one of {', '.join(known)}"
    raise UserError(f"experiment {experiment}: {f'did you mean {near}? E' + expected[1:] if near else expected}")


def usual_scale(experiment: str, folder: Path) -> str:
    """Return the scale to use if none is given: the only scale that the experiment defines itself, or else `smoke`."""
    own = _load(find(experiment, folder)).get("scales")
    mine = own.keys() - _load(folder / "scales.yaml").keys() if isinstance(own, dict) else set()
    return str(next(iter(mine))) if len(mine) == 1 else "smoke"


def recipe_file(recipe: str, folder: Path) -> Path:
    """Return the file of a recipe: by its name in `folder`, or by a path (which has a / or ends in .sh)."""
    return Path(recipe) if "/" in recipe or recipe.endswith(".sh") else folder / f"{recipe}.sh"


def _recipe(recipe: str, folder: Path) -> tuple[str, list[str]]:
    """Return the recipe of --recipe as the scripts expect it, and the problems with it."""
    file = recipe_file(recipe, folder)
    if file.parent != folder:
        recipe = str(file.resolve())
        return recipe, [] if file.is_file() else [f"--recipe {recipe}: no such file"]
    return recipe, [] if file.is_file() else [f"--recipe {recipe}: expected a file (.sh), or one of {_known(folder)}"]


def _known(folder: Path) -> str:
    return ", ".join(sorted(path.stem for path in folder.glob("*.sh")))


def _named(recipe: Any, folder: Path) -> list[str]:
    """Return the problems with a recipe in a YAML file. It may only be a name, because recipes are run as code."""
    if is_plain(recipe) and (folder / f"{recipe}.sh").is_file():
        return []
    return [f"recipe {shown(recipe)}: expected one of {_known(folder)}; give a file of your own with --recipe"]


def read(experiment: str, scale: str, folder: Path, recipe: str | None = None) -> Settings:
    """Read an experiment, given by name or path, at a scale of scales.yaml or of the experiment.

    `recipe`, a name or a path, replaces the scale's recipe.

    Raises:
        UserError: with every unknown or missing key and every wrong value.
    """
    path = find(experiment, folder)
    given = _load(path)
    problems = _wrong(given, _EXPERIMENT, "top level", needed=("title", "seeds", "teachers", "students"))
    # Whatever has the wrong type is a problem already, and the rest is checked without it.
    given = {key: value for key, value in given.items() if isinstance(value, _EXPERIMENT.get(key, object))}
    scales, own = _load(folder / "scales.yaml"), given.get("scales", {})
    for place, known in ((folder / "scales.yaml", scales), (f"{path}: scales", own)):
        if problem := misfit(known, {str: (dict, type(None))}):
            raise UserError(f"{place}: {problem}")
    if scale not in scales.keys() | own.keys():
        raise UserError(f"--scale {scale}: expected one of {', '.join(dict.fromkeys([*scales, *own]))}")
    settings = {**(scales.get(scale) or {}), **(own.get(scale) or {})}
    recipes = folder.parent / "scripts" / "recipes"
    if recipe is not None:
        settings["recipe"], wrong = _recipe(recipe, recipes)
        if wrong:
            raise UserError(wrong[0])
    trained = [_trained(known) for known in scales.values() if known and _trained(known)[0] == _trained(settings)[0]]
    problems += _wrong(settings, _SCALE, f"scale {scale}", needed=("corpus", "languages", "recipe"))
    if recipe is None and "recipe" in settings:
        problems += [f"scale {scale}: {each}" for each in _named(settings["recipe"], recipes)]
    # A scale may override teachers and students.
    teachers, students = (
        [each for entry in settings.get(key) or given.get(key, []) for each in _entries(path, entry)]
        for key in ("teachers", "students")
    )
    for teacher in teachers:
        problems += _wrong(teacher, _TEACHER, "teachers", needed=("label_smoothing",))
    for student in students:
        problems += _wrong(student, _STUDENT, "students", needed=("method",))
        method = student.get("method")
        if not isinstance(method, str) or method not in METHODS:
            problems.append(f"students: method {method}: expected one of {', '.join(METHODS)}")
        elif other := (student.keys() & _STUDENT) - METHODS[method] - {"method", "size"}:
            problems.append(f"students: {', '.join(sorted(other))}: not allowed with method {method}")
        if (strategy := student.get("strategy", _STRATEGIES[0])) not in _STRATEGIES:
            problems.append(f"students: strategy: {strategy!r}: expected one of {', '.join(_STRATEGIES)}")
        elif student.get("score_temperature", 1) != 1 and strategy != "n-best":
            problems.append(f"students: score_temperature: not allowed with strategy {strategy}, only with n-best")
        sizes = [key for key in ("cache_top_k", "cache_bytes") if key in student]
        if len(sizes) > 1:
            problems.append("students: cache_top_k and cache_bytes: expected one of them")
        elif sizes and student.get("cached") is False:
            problems.append(f"students: {sizes[0]}: not allowed with cached: false")
    for where, known in ((f"scale {scale}: ", settings), ("", given)):
        if "seeds" in known and not _are_seeds(known["seeds"]):
            problems.append(f"{where}seeds {known['seeds']}: expected a list of whole numbers from 1")
    seeds: list[int] = settings.get("seeds", given.get("seeds", []))
    languages = settings.get("languages")
    if not isinstance(languages, list) or len(languages) != 2 or not all(isinstance(each, str) for each in languages):
        problems.append(
            'languages: expected [source, target], two codes; put a code that YAML takes for a value in quotes: "no"'
        )
    tokenize = given.get("tokenize", settings.get("tokenize"))
    if isinstance(tokenize, str):
        try:
            check_tokeniser(tokenize, "tokenize:")
        except UserError as error:
            problems.append(str(error))
    if not teachers and "teachers" in given:
        problems.append("teachers: expected at least one")
    problems += _unknown_sizes(settings.get("recipe"), recipes, [*teachers, *students])
    problems += [
        f"scale {scale}: {key}: {word!r} is one word with a space: expected {', '.join(map(shown, word.split()))}"
        for key in ("prepare", "train", "translate", "score")
        for word in (settings[key] if isinstance(settings.get(key), list) else ())
        if isinstance(word, str) and word.startswith("-") and " " in word
    ]
    if problem := misfit(settings.get("tests", {}), {str: (str, type(None))}):
        problems.append(f"tests: {problem}")
    script = folder.parent / "scripts" / "prepare.sh"
    problems += [f"scale {scale}: {each}" for each in wrong_data(settings, script)]
    problems += _harmful(settings, [*teachers, *students], given.get("train", []))
    if problems:
        raise UserError("\n  ".join([f"{path} has mistakes:", *dict.fromkeys(problems)]))
    source, target = settings["languages"]
    return Settings(
        name=path.stem,
        title=given["title"],
        seeds=seeds,
        teachers=teachers,
        students=students,
        corpus=settings["corpus"],
        languages=(source, target),
        prepare=[str(word) for word in settings.get("prepare", [])],
        recipe=settings["recipe"],
        data=settings.get("data", Path(settings["corpus"]).stem),
        # If an option is given twice, the last one applies: the experiment's own.
        train=[str(word) for word in [*settings.get("train", []), *given.get("train", [])]],
        translate=[str(word) for word in settings.get("translate", [])],
        tests=settings.get("tests", {}),
        hours=settings.get("hours", False),
        score=[*(["--tokenize", tokenize] if tokenize else []), *(str(word) for word in settings.get("score", []))],
        apart=bool(given.get("train")) or bool(trained and _trained(settings) not in trained),
    )


def _harmful(settings: Mapping[str, Any], models: list[dict[str, Any]], train: Any) -> list[str]:
    """Return names and options that lead out of a folder or run code: YAML files may come from somebody else."""
    corpus = str(settings.get("corpus", ""))
    languages = settings.get("languages", [])
    named = [("data", settings.get("data", "x"))]
    named += [("languages", language) for language in (languages if isinstance(languages, list) else [])]
    # A corpus file is checked when it is read.
    named += [] if corpus.endswith(".toml") else [("corpus", corpus)]
    named += [("tests", test) for test in settings.get("tests") or {}]
    named += [(key, model[key]) for model in models for key in ("size", "strategy") if key in model]
    problems = [f"{key}: {shown(name)}: expected {PLAIN.words}" for key, name in named if not is_plain(name)]
    lists = [settings.get(key, []) for key in ("prepare", "train", "translate", "score")]
    lists += [str(model.get("options", "")).split() for model in models]
    for word in (str(word) for words in [*lists, train] if isinstance(words, list) for word in words):
        # argparse accepts abbreviations of options.
        option = word.partition("=")[0]
        if any(len(option) > 3 and name.startswith(option) for name in IMPORTING):
            problems.append(f"{shown(word)} runs code: call the script with it yourself (--dry-run prints the calls)")
        if option == "--save-dir":
            problems.append(f"{shown(word)}: the experiment names the folders of its models. Leave it out")
    return problems


def _unknown_sizes(recipe: Any, folder: Path, models: list[dict[str, Any]]) -> list[str]:
    """Return the sizes of models that a recipe lacks. It may get some from another recipe that it sources."""
    file = recipe_file(recipe, folder) if isinstance(recipe, str) else None
    if file is None or not file.is_file():
        return []
    text = file.read_text("utf-8", errors="replace")
    for name in re.findall(r"^(?:\.|source) .*?([\w-]+\.sh)", text, re.MULTILINE):
        text += (folder / name).read_text("utf-8") if (folder / name).is_file() else ""
    known = sorted(set(re.findall(r"\b(\w+)_model\b", text)))
    asked = dict.fromkeys(str(model["size"]) for model in models if "size" in model)
    return [f"size: {size}: the recipe {recipe} has {', '.join(known)}" for size in asked if size not in known]


def _trained(scale: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what determines the trainings of a scale: data, recipe and options."""
    options = [scale.get(key, []) for key in ("train", "translate")]
    return scale.get("data", scale.get("corpus")), scale.get("recipe"), options


def _entries(path: Path, entry: Any) -> list[dict[str, Any]]:
    if not isinstance(entry, dict):
        return [{"?": entry}]
    if (count := math.prod(len(value) for value in entry.values() if isinstance(value, list))) > MOST:
        raise UserError(
            f"{path}: {shown(entry)} has {count:,} combinations, expected at most {MOST:,}: give fewer values"
        )
    return list(expand(entry))


def _load(path: Path) -> dict[str, Any]:
    found = read_yaml(path)
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected keys and values")
    return found


def _are_seeds(seeds: Any) -> bool:
    kind = isinstance(seeds, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds)
    return kind and bool(seeds) and min(seeds) > 0


def _kind_of(kind: Any, value: Any) -> str:
    """Describe a type and, for a list, how to write the value."""
    if kind is list:
        words = [word.rstrip(",") for word in value.split()] if isinstance(value, str) else [str(value)]
        return f"a list, [{', '.join(words)}]"
    return {str: "a text", dict: "keys and values", bool: "true or false"}.get(kind, "a number")


def _near(key: Any, kinds: Mapping[str, Any]) -> str:
    """Return what was probably meant by an unknown key, or all that are known."""
    near = meant(str(key), kinds)
    return f"no such key; did you mean {near}?" if near else f"expected one of {', '.join(kinds)}"


def _wrong(given: Mapping[str, Any], kinds: Mapping[str, Any], where: str, needed: tuple[str, ...]) -> list[str]:
    problems = [f"{where}: {key}: {_near(key, kinds)}" for key in given if key not in kinds]
    problems += [f"{where}: {key} is missing" for key in needed if key not in given]
    for key, value in given.items():
        kind = kinds.get(key)
        if key in _RANGES and isinstance(value, _NUMBER) and not isinstance(value, bool):
            fits, words = _RANGES[key]
            problems += [] if fits(value) else [f"{where}: {key}: {value}: expected a number {words}"]
        # To Python, YAML's true is also a number.
        if kind and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            problems.append(f"{where}: {key}: {shown(value)} has the wrong type: expected {_kind_of(kind, value)}")
    return problems
