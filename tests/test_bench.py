from __future__ import annotations

import pytest

from tools import bench


def test_the_smoke_form_measures_every_question(capsys, tmp_path):
    assert bench.main(["--smoke", "--out", str(tmp_path / "bench.md")]) == 0
    said = capsys.readouterr().out
    for name in ("one X-ray (original)", "heat map", "robustness", "occlusion", "pneumonia score"):
        assert name in said
    assert not (tmp_path / "bench.md").exists()


def test_things_are_timed_in_turn_and_the_first_call_does_not_count():
    asked = []
    found = bench.medians({"a": lambda: asked.append("a"), "b": lambda: asked.append("b")}, 3)
    assert "".join(asked) == "ab" + "ab" * 3
    assert set(found) == {"a", "b"} and all(value >= 0 for value in found.values())


@pytest.mark.parametrize(("value", "at_least", "met"), [(1.2, False, True), (1.2, True, False)])
def test_the_report_says_what_misses_its_target(value, at_least, met):
    figure = bench.Figure("a thing", value, "times", 1.3, at_least, "6 ms over 5")
    assert figure.met is met
    sign, word = ("≥", "**no**") if at_least else ("≤", "yes")
    line = f"| a thing | 1.20 times | {sign} 1.3 times | {word} | 6 ms over 5 |"
    assert line in bench.report([figure])
    assert f"{int(met)} of 1 targets" in bench.report([figure])
