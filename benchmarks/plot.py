#!/usr/bin/env python
"""Draw the figures and tables of docs/benchmarks.md from the committed rows in benchmarks/results/*.json.

results/kd_loss.json and prepare.json become docs/figures/kd_loss.svg and prepare.svg (and .png). Each table replaces
the text between the lines `<!-- NAME.json -->` and `<!-- end -->` of the page. The tables of results/gpu are at
`<!-- gpu -->`. The rows of the experiment with teacher caches, docs/results/caches-cpu, become docs/figures/caches.svg.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import busy_cores
import export
import kd_loss
import matplotlib
import mbr
import prepare
import student_throughput
import translate
import translate_kills
from _common import doubt
from _forms import FORMS
from gpu import tables as gpu_tables
from gpu.stages import STAGES
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fairseq_lskd.analysis.quantiles import t_half_width
from fairseq_lskd.teachers.cache import record_dtype

HERE = Path(__file__).resolve().parent
#: Number of types of a vocabulary whose indices have two bytes, as that of the experiment with caches.
SMALL = 2**16
GPU_COMMAND = "benchmarks/gpu/run.sh benchmarks/results/gpu"

#: Name of a benchmark -> function that formats its rows. A result is named after it, with `-` and a suffix if needed.
TABLES: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {
    "busy_cores": busy_cores.table,
    "export": export.table,
    "kd_loss": kd_loss.table,
    "mbr": mbr.table,
    "prepare": prepare.table,
    "student_throughput": student_throughput.table,
    "translate": translate.table,
    "translate_kills": translate_kills.table,
}

#: Groups in the order of the figure, and labels of their bars. Only forms of one group do the same work.
GROUPS = {
    "teacher beside the student": {
        "fused": "ours, fused",
        "plain": "ours, plain",
        "nmt_kd": "NMT-KD",
        "tie_kd_x3": "NMT-KD, TIE x 3",
        "varungumma": "VarunGumma",
        "selective_all": "selective, all tokens",
        "selective_global": "selective, global",
        "torchtune_chunked8": "torchtune, 8 chunks",
        "liger_n4": "Liger's way, N/4",
        "liger_n16": "Liger's way, N/16",
        "liger_n16_compiled": "Liger's way, N/16, compiled",
        "liger_1024_compiled": "Liger's way, 1,024 tokens, compiled",
    },
    "teacher's top k on file": {"fused_top16": "ours, fused, k = 16", "rayeren_top4": "RayeRen, k = 4"},
    "no teacher": {"fused_ls": "ours, fused", "fairseq_ls": "fairseq"},
}
assert FORMS.keys() == {name for group in GROUPS.values() for name in group}
STYLE = {"font.size": 9, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
OURS, OTHERS = "#1f6fb4", "#9a9a9a"

#: What a student can read beside the teacher, and how it is drawn.
CACHES: dict[str, dict[str, Any]] = {
    "unbiased cache": {"color": OURS, "marker": "o"},
    "top k, others one class": {"color": "#d58a1f", "marker": "s"},
    "top k, renormalised": {"color": OTHERS, "marker": "^"},
}
NO_CACHE = "the teacher itself", 0


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=HERE / "results", metavar="DIR", help="folder of rows (default: %(default)s)"
    )
    parser.add_argument(
        "--docs", type=Path, default=HERE.parent / "docs", metavar="DIR", help="folder of docs (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    page = args.docs / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    for path in sorted(args.results.glob("*.json")):
        rows, kind = json.loads(path.read_text(encoding="utf-8")), path.stem.partition("-")[0]
        if kind == "kd_loss":
            draw(rows, args.docs / "figures" / path.stem)
        if kind == "prepare":
            draw_growth(rows, args.docs / "figures" / path.stem)
        if kind in TABLES:
            shown = f"{TABLES[kind](rows)}\n\n{made_by(rows)}"
            if kind == "prepare":
                shown = f"![Seconds and peak memory by the number of pairs](figures/{path.stem}.svg)\n\n{shown}"
            text = put(text, path.name, shown)
    if (caches := args.docs / "results" / "caches-cpu" / "results.json").is_file():
        draw_calibration(json.loads(caches.read_text(encoding="utf-8")), args.docs / "figures" / "caches")
    text = put(text, "gpu", gpu_section(args.results / "gpu"))
    page.write_text(text, encoding="utf-8")


def gpu_section(folder: Path) -> str:
    """Return the tables of the rows of `benchmarks/gpu/run.sh`, or how to measure them if there are none."""
    tables = {}
    for stage in STAGES.values():
        path = folder / f"{stage.name}.json"
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        if found := gpu_tables.table(stage.name, rows):
            tables[stage] = f"{found}\n\n{made_by(rows)}"
    if not tables:
        return f"Not measured yet. To measure it, run `{GPU_COMMAND}` on a machine with a GPU."
    return "\n\n".join(f"### {stage.name.capitalize()}: {stage.about}\n\n{found}" for stage, found in tables.items())


def put(page: str, name: str, table: str) -> str:
    """Return the page with a table in its place, if the page has that place."""
    place = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.S)
    return place.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page)


def made_by(rows: Sequence[dict[str, Any]]) -> str:
    """Return the commands, machines and versions of rows."""
    found: dict[str, list[str]] = {}
    for row in rows:
        commands = found.setdefault(where(row["machine"], row["versions"]), [])
        if (command := f"`{row['command']}`") not in commands:
            commands.append(command)
    return "\n\n".join("  \n".join([*commands, place]) for place, commands in found.items()) + doubt(rows)


def where(machine: dict[str, Any], versions: dict[str, str]) -> str:
    gpus = "".join(f", {gpu}" for gpu in machine["gpus"])
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB{gpus}; {packages}"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot time and peak memory of every form at the largest size to path.svg and path.png."""
    first = rows[0]
    tokens, vocab = max((row["tokens"], row["vocab"]) for row in rows)
    case = {"tokens": tokens, "vocab": vocab, "dtype": first["dtype"]}
    found = {row["impl"]: row for row in rows if case.items() <= row.items()}
    groups = {title: {name: label for name, label in group.items() if name in found} for title, group in GROUPS.items()}
    groups = {title: group for title, group in groups.items() if group}
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": path.name}):
        figure = Figure(figsize=(9, 1.2 + 0.3 * len(found) + 0.35 * len(groups)), layout="constrained")
        panels = figure.subplots(
            len(groups), 2, sharex="col", squeeze=False, height_ratios=[len(group) + 0.6 for group in groups.values()]
        )
        for (times, peaks), (title, group) in zip(panels, groups.items(), strict=True):
            names = sorted(group, key=lambda name: -found[name]["time_to_plain_median"])
            members = [found[name] for name in names]
            ratios = [row["time_to_plain_median"] for row in members]
            ends = [row["time_to_plain_quartiles"] for row in members]
            errors = [[r - low for r, (low, _) in zip(ratios, ends, strict=True)]]
            errors += [[high - r for r, (_, high) in zip(ratios, ends, strict=True)]]
            labels = [group[name] for name in names]
            bars(times, labels, ratios, errors)
            times.axvline(1, color="black", linewidth=0.8, linestyle=":")
            times.set_title(title, loc="left", fontsize=9, fontweight="bold")
            bars(peaks, labels, [row["peak_units"] for row in members])
            peaks.set_yticklabels([])
        panels[-1][0].set_xlabel("time, relative to ours, plain (median, quartiles)")
        panels[-1][1].set_xlabel("peak memory, in [tokens x vocabulary] tensors")
        figure.suptitle(
            f"Loss and projections, forward and backward: {tokens:,} tokens x {vocab:,} types, {first['dtype']}, "
            f"{'GPU' if first['device'] == 'cuda' else 'CPU'}",
            fontsize=10,
        )
        save(figure, path)


def draw_growth(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot seconds and peak memory of data preparation by number of pairs to path.svg and path.png."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": path.name}):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        times, peaks = figure.subplots(1, 2)
        for recipe in prepare.RECIPES:
            found = sorted((row for row in rows if row["recipe"] == recipe), key=lambda row: row["pairs"])
            if not found:
                continue
            pairs = [row["pairs"] / 1e6 for row in found]
            colour = OTHERS if recipe.endswith("_tools") else OURS
            marker = "^" if recipe == "cleaned" else "s" if recipe.startswith("moses") else "o"
            style = {"color": colour, "marker": marker, "markersize": 5}
            for panel, name in ((times, "seconds"), (peaks, "peak_mb")):
                panel.plot(pairs, [row[name] for row in found], label=recipe, **style)
        times.set_ylabel("seconds")
        peaks.set_ylabel("peak memory, MB")
        for panel in (times, peaks):
            panel.set_xlabel("million pairs")
            panel.set_xlim(left=0)
            panel.set_ylim(bottom=0)
        times.legend(frameon=False, fontsize=8)
        save(figure, path)


def draw_calibration(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot the calibration error of students by the size of their teacher cache to path.svg and path.png.

    Bars are 95 % intervals of the difference from students that read the teacher itself, over seeds, paired.
    """
    errors = calibration_errors(rows)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": path.name}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        smoothings = sorted({smoothing for smoothing, *_ in errors})
        panels = figure.subplots(1, len(smoothings), sharey=True, squeeze=False)[0]
        for panel, smoothing in zip(panels, smoothings, strict=True):
            itself = errors[smoothing, *NO_CACHE]
            panel.axhline(fmean(itself.values()), color="black", linewidth=0.8, linestyle=":", label=NO_CACHE[0])
            for place, (kind, style) in enumerate(CACHES.items(), start=-1):
                sizes = sorted(size for ls, found, size in errors if (ls, found) == (smoothing, kind))
                systems = [errors[smoothing, kind, size] for size in sizes]
                means = [fmean(found.values()) for found in systems]
                halves = [t_half_width([found[seed] - itself[seed] for seed in itself]) for found in systems]
                shifted = [size * 1.03**place for size in sizes]  # side by side
                panel.errorbar(shifted, means, halves, label=kind, capsize=2, linewidth=1, markersize=5, **style)
            panel.set_xscale("log")
            panel.set_xticks(ticks := sorted({size for *_, size in errors} - {0}), map(str, ticks))
            panel.minorticks_off()
            panel.set_xlabel("bytes per token")
            panel.set_title(f"teacher with label smoothing {smoothing:g}", loc="left", fontsize=9, fontweight="bold")
        panels[0].set_ylabel("calibration error, %")
        panels[0].set_ylim(bottom=0)
        figure.legend(
            *panel.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8
        )
        save(figure, path)


def calibration_errors(rows: Sequence[dict[str, Any]]) -> dict[tuple[float, str, int], dict[int, float]]:
    """Return the calibration error in percent by seed, for each label smoothing, kind of cache and bytes per token."""
    errors: dict[tuple[float, str, int], dict[int, float]] = {}
    for row in rows:
        if row["method"] == "word":
            key = row["teacher_smoothing"], *kind_of_cache(row)
            errors.setdefault(key, {})[row["seed"]] = 100 * row["valid_ece"]
    return errors


def kind_of_cache(row: dict[str, Any]) -> tuple[str, int]:
    """Return what a student at word level read, and its bytes per token."""
    if not row["cached"]:
        return NO_CACHE
    if size := row.get("cache_bytes"):
        return "unbiased cache", size
    kind = "top k, renormalised" if row.get("kd_rest") == "renormalise" else "top k, others one class"
    return kind, record_dtype(row["kd_top_k"], SMALL).itemsize


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=150)


def bars(panel: Axes, labels: Sequence[str], values: Sequence[float], errors: list[list[float]] | None = None) -> None:
    colours = [OURS if label.startswith("ours") else OTHERS for label in labels]
    drawn = panel.barh(range(len(labels)), values, color=colours, xerr=errors, error_kw={"linewidth": 0.8})
    panel.set_yticks(range(len(labels)), labels)
    panel.bar_label(drawn, [f"{value:.2f}" for value in values], padding=4)
    panel.margins(x=0.15)


if __name__ == "__main__":
    main()
