"""Train a sequence-level student again on noised translations, and compare both students on noised test sets.

python3.11 -m venv opus && opus/bin/pip install opustrainer==0.5
scripts/distill_seq.sh --data data/multi30k --teacher teacher.pt --out runs/mine/seq
python examples/noise.py --data data/multi30k --student runs/mine/seq --opustrainer opus/bin/opustrainer-train

The new student is RUN-noised. It has the command of RUN, and OpusTrainer's noise in a part of its training pairs
(TRAINING). The test sets upper, nostop and typos have noise in every line. RUN needs one translation per source
(--strategy 1-best, nearest or mbr). If the script is stopped, call it again to continue.
"""

import argparse
import json
import subprocess
from pathlib import Path

#: Share of the training pairs that get each kind of noise.
TRAINING = {"UpperCase": 0.05, "TitleCase": 0.05, "RemoveEndPunct": 0.1, "Typos": 0.1}
TESTS = {"upper": {"UpperCase": 1.0}, "nostop": {"RemoveEndPunct": 1.0}, "typos": {"Typos": 1.0}}
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def run(*words):
    status = subprocess.run([str(word) for word in words]).returncode
    if status:
        raise SystemExit(status)  # the command said why


def text_of(pieces):
    """Join SentencePiece's pieces."""
    return pieces.replace(" ", "").replace("▁", " ").strip()


def noise(opustrainer, modifiers, source, target, out, languages):
    """Write `out`.LANG: the lines of two texts, in their order, with OpusTrainer's noise."""
    if all(out.with_name(f"{out.name}.{language}").exists() for language in languages):
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    pairs, config = (out.with_name(out.name + suffix) for suffix in (".tsv", ".yml"))
    pairs.write_text("".join(f"{a}\t{b}\n" for a, b in zip(source, target, strict=True)), encoding="utf-8")
    # JSON is YAML.
    settings = {"datasets": {"pairs": str(pairs.resolve())}, "stages": ["all"], "all": ["pairs 1.0", "until pairs 1"]}
    config.write_text(json.dumps({**settings, "modifiers": [{k: v} for k, v in modifiers.items()], "seed": 1}))
    call = [opustrainer, "--config", config, "--no-shuffle", "--do-not-resume", "cat"]
    noised = subprocess.run([str(word) for word in call], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    lines = noised.removesuffix("\n").split("\n") if noised else []
    if len(lines) != len(source):
        raise SystemExit(f"{opustrainer} wrote {len(lines):,} lines for {len(source):,} pairs")
    for column, language in enumerate(languages):
        text = "".join(line.split("\t")[column] + "\n" for line in lines)
        out.with_name(f"{out.name}.{language}").write_text(text, encoding="utf-8")


def lines_of(path):
    with path.open(encoding="utf-8", newline="\n") as text:
        return [line.removesuffix("\n") for line in text]


def add_test_sets(data, opustrainer, raw, languages):
    """Add the noised test sets to the data."""
    clean = [lines_of(data / f"raw/test.{language}") for language in languages]
    for name, modifiers in TESTS.items():
        noise(opustrainer, modifiers, *clean, raw / name, languages)
        if not (data / "tests" / name / "test.json").exists():
            run("lskd", "data", "test", name, "--data", data, "--raw", raw)


def select_noised(data, opustrainer, old, new, languages):
    """Make the training set `new` from the pairs of the training set `old`, with noise."""
    pairs = ([text_of(line) for line in lines_of(old / f"train.{language}")] for language in languages)
    text = new.with_name("noised")
    noise(opustrainer, TRAINING, *pairs, text, languages)
    if (new / "select.json").exists():
        return
    source, target = (text.with_name(f"noised.{language}") for language in languages)
    names = ["-s", languages[0], "-t", languages[1], "--format", "text", "--source", source]
    model = data / "pieces/spm.model"
    pieces = ["--sentencepiece-source", model, "--sentencepiece-target", model, "--student-data", data / "bin"]
    run("lskd", "select", target, *names, *pieces, "--out", new)


def train(data, made, old, selected, out):
    """Train with the command of a run, and `selected` instead of the training set `old`."""
    words = [word.replace(str(old), str(selected)) for word in made["command"]]
    words[words.index("--save-dir") + 1] = str(out)
    # Plain text does not say who translated it.
    smoothing = made["training"]["teachers"][0]["training"]["label_smoothing"]
    said = {**made["labels"], "teacher_smoothing": smoothing, "noise": "source"}
    labels = [f"--label={key}={value}" for key, value in said.items()]
    files = [selected / "select.json", selected / "train.weights.npz", data / "pieces/encode.json"]
    run("lskd", "run", "--out", out, *labels, *(f"--input={path}" for path in files), "--", *words)
    run("lskd", "average", out, "--last", 3, "--or-fewer")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of scripts/prepare.sh")
    parser.add_argument("--student", type=Path, required=True, metavar="RUN", help="student of scripts/distill_seq.sh")
    parser.add_argument("--recipe", default="multi30k", help="recipe of the student (default: %(default)s)")
    parser.add_argument("--opustrainer", default="opustrainer-train", metavar="FILE", help="OpusTrainer's command")
    args = parser.parse_args()
    old, new = Path(f"{args.student}-data/selected"), Path(f"{args.student}-noised-data/selected")
    record, out = args.student / "run.json", Path(f"{args.student}-noised")
    for path in (old / "select.json", record, args.data / "pieces/spm.model"):
        if not path.exists():
            raise SystemExit(f"{path}: not found; expected a student of scripts/distill_seq.sh and its data")
    made = json.loads(record.read_text(encoding="utf-8"))
    languages = [made["command"][made["command"].index(flag) + 1] for flag in ("-s", "-t")]

    add_test_sets(args.data, args.opustrainer, new.with_name("tests"), languages)
    select_noised(args.data, args.opustrainer, old, new, languages)
    train(args.data, made, old, new, out)
    for name in ("", *TESTS):
        test_set = ["--test-set", name] if name else []
        for student in (args.student, out):
            run(SCRIPTS / "score.sh", "--data", args.data, "--recipe", args.recipe, "--run", student, *test_set)
        result = f"result-{name}.json" if name else "result.json"
        run("lskd", "table", args.student / result, out / result)


if __name__ == "__main__":
    main()
