"""Tables of the stages' rows, for the summary of run.sh and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabulate import tabulate

Rows = Sequence[dict[str, Any]]


def table(stage: str, rows: Rows) -> str:
    """Format the rows of a stage as Markdown; "" if there are none."""
    return TABLES[stage](rows) if rows else ""


def exact(rows: Rows) -> str:
    """Format one line per kind of check and precision: how many passed, and the worst error."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["check"], row.get("precision", "")), []).append(row)
    lines = []
    for (check, precision), members in groups.items():
        # The largest ratio of error and limit. Failures and NaN are worse than any error.
        worst = max(
            members, key=lambda row: (row.get("error") is None, (row.get("error") or 0) / (row.get("limit") or 1))
        )
        error = worst.get("error")
        lines.append(
            {
                "check": check,
                "precision": precision,
                "passed": f"{sum(bool(row['ok']) for row in members)} of {len(members)}",
                "worst": worst.get("failed", "not a number") if error is None else f"{error:.2g}",
                "limit": "" if worst.get("limit") is None else f"{worst['limit']:.2g}",
                "of": f"{worst['what']}{', ' + worst['part'] if worst.get('part') else ''}",
            }
        )
    return _markdown(lines)


def loss(rows: Rows) -> str:
    """Format the ceilings of the machine, and one table per size and dtype."""
    ceilings = [row for row in rows if row["part"] == "ceilings" and "rate" in row]
    lines = [
        {
            "number format": row["dtype"],
            "matrix product, TFLOP/s": f"{row['rate'] / 1e12:.4g}",
            "copy, GB/s": f"{row['bandwidth'] / 1e9:.4g}" if "bandwidth" in row else "",
        }
        for row in ceilings
    ]
    texts = [_markdown(lines, right=["matrix product, TFLOP/s", "copy, GB/s"])] if lines else []
    cases: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["part"] == "forms":
            cases.setdefault((row["tokens"], row["vocab"], row["dtype"]), []).append(row)
    for (tokens, vocab, dtype), members in cases.items():
        lines = [_form(row) for row in members]
        numbers = [name for name in dict.fromkeys(name for line in lines for name in line) if name != "form"]
        texts.append(f"{tokens:,} tokens x {vocab:,} types, {dtype}\n\n{_markdown(lines, right=numbers)}")
    return "\n\n".join(texts)


def _form(row: dict[str, Any]) -> dict[str, str]:
    if "failed" in row:
        return {"form": row.get("impl", "all"), "ms": row["failed"][:60]}
    return {
        "form": row["impl"],
        "ms": f"{1000 * row['seconds_median']:.3g}",
        "quartiles": " - ".join(f"{1000 * value:.3g}" for value in row["seconds_quartiles"]),
        "x plain": f"{row['time_to_plain_median']:.2f}" if "time_to_plain_median" in row else "",
        "x best reference": f"{row['time_to_best_reference']:.2f}" if row["time_to_best_reference"] else "",
        "floor, ms": f"{1000 * row['floor_seconds']:.3g}",
        "x floor": f"{row['time_to_floor']:.2f}",
        "peak": f"{row['peak_units']:.2f}",
        "with gradients, by the allocator": (
            "" if row.get("peak_units_allocator") is None else f"{row['peak_units_allocator']:.2f}"
        ),
    }


def students(rows: Rows) -> str:
    """Format one line per setting."""
    lines = []
    for row in rows:
        if "failed" in row:
            lines.append({"precision": "", "teacher": "failed", "tokens/s": row["failed"][:60]})
            continue
        low, high = row["tokens_per_second_quartiles"]
        lines.append(
            {
                "precision": row["dtype"],
                "teacher": row["teacher"],
                "tokens/s": f"{row['tokens_per_second_median']:,.0f}",
                "quartiles": f"{low:,.0f} - {high:,.0f}",
                "x none": f"{row['speed_to_none_median']:.2f}" if "speed_to_none_median" in row else "",
                "peak MiB": f"{row['peak_device_mib'] or row['peak_rss_mib']:,}",
                "waits for the GPU": "" if row["waits"] is None else str(row["waits"]),
            }
        )
    return _markdown(lines, right=["tokens/s", "quartiles", "x none", "peak MiB", "waits for the GPU"])


def teachers(rows: Rows) -> str:
    """Format a table for caching and one for translating."""
    texts = []
    cached = [row for row in rows if row["part"] == "cache"]
    if cached:
        lines = [
            {"precision": row["dtype"], "lskd cache, tokens/s": row["failed"][:60]}
            if "failed" in row
            else {
                "precision": row["dtype"],
                "lskd cache, tokens/s": f"{row['tokens_per_second']:,.0f}",
                "forward pass, tokens/s": f"{row['forward_tokens_per_second']:,.0f}",
                "x forward": f"{row['speed_to_forward']:.2f}",
                "peak MiB": "" if row["peak_device_mib"] is None else f"{row['peak_device_mib']:,}",
            }
            for row in cached
        ]
        texts.append(
            _markdown(lines, right=["lskd cache, tokens/s", "forward pass, tokens/s", "x forward", "peak MiB"])
        )
    translated = [row for row in rows if row["part"] == "translate"]
    if translated:
        lines = [
            {"engine": row.get("engine", "all"), "sentences/s": row["failed"][:60]}
            if "failed" in row
            else {
                "engine": row["engine"],
                "sentences/s": f"{row['sentences_per_second']:,.0f}",
                "x best fairseq-generate": f"{row['times_best_fairseq_generate']:.2f}",
                "settings": ", ".join(
                    f"{name} {value}" for name, value in (row.get("settings") or {}).items() if value
                ),
            }
            for row in translated
        ]
        texts.append(_markdown(lines, right=["sentences/s", "x best fairseq-generate"]))
    return "\n\n".join(texts)


def experiment(rows: Rows) -> str:
    """Format the state of the workflow, and one line per scored system."""
    texts = [
        f"The workflow was {row['ended']} after {row['seconds']:.0f} s: {row['trained']} systems trained, "
        f"{row['scored']} scored, {row['jobs']} jobs at once."
        for row in rows
        if row["part"] == "workflow" and "ended" in row
    ]
    lines = []
    for row in rows:
        if row["part"] == "system":
            record = row["record"]
            lines.append(
                {
                    "system": row["name"],
                    "BLEU": f"{record['bleu']:.1f}",
                    "chrF": f"{record['chrf']:.1f}",
                    "valid ppl": f"{record['valid_ppl']:.2f}" if "valid_ppl" in record else "",
                    "train s": f"{record['train_seconds']:.0f}" if record.get("train_seconds") else "",
                }
            )
    if lines:
        texts.append(_markdown(lines, right=[name for name in lines[0] if name != "system"]))
    return "\n\n".join(texts)


def _markdown(lines: Sequence[dict[str, Any]], right: Sequence[str] = ()) -> str:
    names = list(dict.fromkeys(name for line in lines for name in line))
    align = ["right" if name in right else "left" for name in names]
    cells = [[line.get(name, "") for name in names] for line in lines]
    return tabulate(cells, names, tablefmt="github", disable_numparse=True, colalign=align)


TABLES: dict[str, Callable[[Rows], str]] = {
    "exact": exact,
    "loss": loss,
    "students": students,
    "teachers": teachers,
    "experiment": experiment,
}
