from __future__ import annotations

import pytest

from pneumonia.backend import keras
from tools import bench, bench_training


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


def test_operations_are_counted_by_hand():
    inputs = keras.Input((5, 5, 1))
    # 3 x 3 places, each of 2 maps 9 products and sums; then 2 x 1.
    maps = keras.layers.Conv2D(2, 3)(inputs)
    answer = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(maps))
    assert bench_training._operations(keras.Model(inputs, answer)) == 2 * 9 * 2 * 9 + 2 * 2


def test_training_is_timed_both_ways_and_drawn(tmp_path):
    found = bench_training.measure("baseline", bench._encode_published, images=8)
    assert min(found.decode, found.draw, found.step, found.notebook, found.share) > 0
    assert found.ours == found.decode + found.step
    bench.chart({"baseline": found}, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
