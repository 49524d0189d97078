"""Tests that figures and tables are reproducible from rows."""

import json

import kd_loss
import pytest

pytest.importorskip("matplotlib")
import plot

PAGE = "# Speed\n\n<!-- kd_loss.json -->\n<!-- end -->\n\nThat was it.\n"


def test_figures_and_tables_are_reproducible(tmp_path):
    results, docs = tmp_path / "results", tmp_path / "docs"
    docs.mkdir()
    (docs / "benchmarks.md").write_text(PAGE)
    flags = "--tokens 32 64 --vocab 64 --student-width 8 --teacher-width 8 --device cpu --threads 1 --repeats 2"
    kd_loss.main([*flags.split(), "--json", str(results / "kd_loss.json")])
    (results / "other.json").write_text(json.dumps([{"of": "no known kind"}]))
    arguments = ["--results", str(results), "--docs", str(docs)]
    plot.main(arguments)
    page = (docs / "benchmarks.md").read_text()
    assert page.startswith("# Speed\n\n<!-- kd_loss.json -->\n\n32 tokens x 64 types") and page.endswith("was it.\n")
    assert page.count("| fused ") == 2 and "torch " in page
    drawing = (docs / "figures" / "kd_loss.svg").read_text()
    assert "64 tokens x 64 types" in drawing and "TIE x 3" in drawing
    plot.main(arguments)
    assert (docs / "benchmarks.md").read_text() == page
    assert (docs / "figures" / "kd_loss.svg").read_text() == drawing


def test_the_calibration_of_students_by_their_cache(tmp_path):
    word = {"method": "word", "teacher_smoothing": 0.1, "cached": True}
    systems = [
        {"method": "none", "cached": None},
        word | {"cached": False},
        word | {"cache_bytes": 48},
        word | {"kd_top_k": 8},
        word | {"kd_top_k": 8, "kd_rest": "renormalise"},
    ]
    rows = [
        each | {"seed": seed, "valid_ece": (place + seed / 10) / 100}
        for place, each in enumerate(systems)
        for seed in (1, 2)
    ]
    plot.draw_calibration(rows, tmp_path / "caches")
    drawing = (tmp_path / "caches.svg").read_text()
    for said in (">the teacher itself<", ">unbiased cache<", ">top k, renormalised<", ">34<", ">48<", "smoothing 0.1<"):
        assert said in drawing
    assert plot.calibration_errors(rows) == {
        (0.1, *key): pytest.approx({1: place + 0.1, 2: place + 0.2})
        for place, key in enumerate(
            [
                plot.NO_CACHE,
                ("unbiased cache", 48),
                ("top k, others one class", 34),
                ("top k, renormalised", 34),
            ],
            start=1,
        )
    }


def test_commands_are_grouped_by_machine():
    machine = {"cpu": "C", "cores": 2, "memory_gib": 8.0, "gpus": []}
    row = {"machine": machine, "versions": {"python": "3.11"}}
    commands = ("one", "two", "one")
    here = [row | {"command": command} for command in commands]
    assert plot.made_by(here) == "`one`  \n`two`  \nC, 2 cores, 8 GiB; python 3.11"
    there = row | {"machine": machine | {"gpus": ["G"]}, "command": "one"}
    assert plot.made_by([*here[:1], there]) == (
        "`one`  \nC, 2 cores, 8 GiB; python 3.11\n\n`one`  \nC, 2 cores, 8 GiB, G; python 3.11"
    )
    busy = [row | {"command": "one", "others_cores": 0.7}, row | {"command": "one", "others_cores": 0.02}]
    assert plot.made_by(busy).endswith("python 3.11; other programs kept 0.7 cores busy: doubtful")
