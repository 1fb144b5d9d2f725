"""What the tabs Compare and What moves it, and the report, say of answers that were worked out by
hand.
"""

from __future__ import annotations

import base64
import io
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from page import answers, compare, predict, report, robustness
from page.served import Models, Shown
from page.words import answers as said
from page.words import compare as compare_words
from page.words import report as report_words
from page.words import robustness as moves_words
from pneumonia import OperatingPoint, Radiograph, probes


@pytest.fixture(scope="module")
def models(models_folder):
    return Models(models_folder)


@pytest.fixture
def shown(drawn_radiograph):
    return Shown(Radiograph(drawn_radiograph(4, 1), "my chest <1>.png"))


def probed(values: dict[str, float]) -> list[probes.Probed]:
    """Results with these probabilities by the probe's name, the untouched one's 0.9."""
    picture = Radiograph(np.zeros((224, 224), np.uint8), "x")
    untouched = probes.Probe(probes.ORIGINAL, "as it is", "", lambda given: given)
    by_name = {probe.name: probe for probe in probes.PROBES}
    return [
        probes.Probed(untouched, picture, 0.9, 0.0),
        *(
            probes.Probed(by_name[name], picture, value, value - 0.9)
            for name, value in values.items()
        ),
    ]


# --- predict
# ----------------------------------------------------------------------------------------------------------------------------
def test_predict_answers_first_and_draws_afterwards(models, shown):
    first, second = predict.answered(models, shown, "baseline", "default")
    assert said.DRAWING in first and "class='film" not in first
    assert second.count("class='film") == 2 and said.DRAWING not in second
    assert (
        first.split("class='pictures'")[0].split("ms</p>")[1]
        == second.split("class='pictures'")[0].split("ms</p>")[1]
    )


def test_predict_says_why_it_does_not_answer(models, shown):
    assert "Choose an example or upload an X-ray." in next(
        predict.answered(models, None, "baseline", "default")
    )
    assert "It is damaged." in next(
        predict.answered(models, None, "baseline", "default", "It is damaged.")
    )
    refused = Shown(shown.picture, reasons=("It is in colour.",))
    assert [
        text.count("It is in colour.")
        for text in predict.answered(models, refused, "baseline", "default")
    ] == [1]
    forced = list(
        predict.answered(
            models,
            Shown(shown.picture, reasons=("It is in colour.",), forced=True),
            "baseline",
            "default",
        )
    )
    assert len(forced) == 2 and "class='probability'" in forced[0]


def test_the_setting_keeps_the_point_a_model_has(models):
    kept = predict.settings(models, "baseline", "recall-0.98")
    assert (
        kept.choices == [("fixed at 0.5", "default"), ("98%", "recall-0.98")]
        and kept.value == "recall-0.98"
        and kept.interactive
    )
    assert predict.settings(models, "baseline", "recall-0.42").value == "default"


def test_a_model_with_one_threshold_says_that_it_is_fixed(models, make_spec, monkeypatch):
    spec = make_spec("baseline", (64, 64), operating_points=(OperatingPoint("default", 0.5),))
    monkeypatch.setattr(models, "evidence", lambda _: type("Known", (), {"spec": spec}))
    fixed = predict.settings(models, "baseline", "recall-0.98")
    assert (fixed.choices, fixed.value, fixed.interactive, fixed.info) == (
        [("fixed at 0.5", "default")],
        "default",
        False,
        said.POINT_FIXED,
    )


# --- compare
# ----------------------------------------------------------------------------------------------------------------------------
def test_models_answer_one_after_the_other_and_their_agreement_comes_last(models, shown):
    steps = list(compare.compared(models, shown, "default"))
    assert len(steps) == 2 * len(models.names) + 1
    asking = [
        [place for place, text in enumerate(cards) if compare_words.ASKING in text]
        for _, *cards in steps
    ]
    assert asking == [[0], [], [1], [], [2], [], []]
    assert [sum("class='probability'" in text for text in cards) for _, *cards in steps] == [
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]
    assert all(text.count("class='film") == 2 for text in steps[-1][1:])
    called = {models.title(name): answers.read(models, name, shown).called for name in models.names}
    assert (
        compare_words.agreement(called) in steps[-1][0]
        and compare_words.agreement(called) not in steps[-2][0]
    )
    names = re.findall(r"name='([^']+)'", "".join(steps[-1][1:]))
    assert sorted(set(names)) == sorted(f"compare-{name}" for name in models.names)


def test_compare_asks_nobody_about_a_refused_picture(models, shown, monkeypatch):
    monkeypatch.setattr(answers, "read", lambda *_: pytest.fail("a refused picture was read"))
    (step,) = compare.compared(models, Shown(shown.picture, reasons=("It is a cat.",)), "default")
    assert "It is a cat." in step[0] and not any("class='probability'" in card for card in step[1:])
    (idle,) = compare.compared(models, None, "default")
    assert compare_words.IDLE in idle[0]


@pytest.mark.parametrize(
    ("called", "said"),
    [
        (
            {"A": "NORMAL", "B": "NORMAL", "C": "NORMAL"},
            f"All three models say NORMAL. {compare_words.CAUTION}",
        ),
        (
            {"A": "NORMAL", "B": "PNEUMONIA", "C": "NORMAL"},
            f"B says PNEUMONIA, A and C say NORMAL. {compare_words.DISAGREE}",
        ),
        (
            {"A": "UNCERTAIN", "B": "PNEUMONIA"},
            f"B says PNEUMONIA, A is uncertain. {compare_words.DISAGREE}",
        ),
        ({"A": "UNCERTAIN", "B": "UNCERTAIN"}, "All two models are uncertain: get a second read."),
        ({"A": "PNEUMONIA"}, "A says PNEUMONIA."),
    ],
)
def test_agreement_in_words(called, said):
    assert compare_words.agreement(called) == said


# --- what moves it
# ----------------------------------------------------------------------------------------------------------------------
def test_the_chart_is_a_table_of_every_probe_with_the_threshold_in_each_row():
    text = robustness.chart(
        probed({probes.LUNGS_HIDDEN: 0.1, "brighter": 0.95, "blur": 0.9}),
        OperatingPoint("default", 0.4),
        "Baseline CNN",
    )
    assert (
        "lungs hidden" in text and text.count("<tr class='") - text.count("<tr class='kind'>") == 4
    )
    assert text.count("class='mark' style='left:40.00%'") == 4
    assert [float(value) for value in re.findall(r"fill' style='width:([\d.]+)%", text)] == [
        90,
        10,
        95,
        90,
    ]
    assert re.findall(r"class='number'>([^<]*)</td></tr>", text) == ["", "−80.0", "+5.0", "0.0"]
    assert text.count("<tr class='normal'>") == 1 and "threshold of 40%" in text
    for kind in ("", "lungs", "exposure", "encoding"):
        assert text.count(moves_words.KINDS[kind]) == 1
    assert set(moves_words.KINDS) == {"", *probes.KINDS}
    assert re.findall(r"alt='([^']*)'", text)[1] == "The X-ray, lungs hidden"


def test_probes_run_on_the_visitors_own_picture(models, shown):
    ((patches, chart),) = robustness.moved(models, shown, "baseline")
    assert moves_words.OCCLUSION_IDLE in patches
    assert chart.count("class='shot'") == len(probes.PROBES) + 1
    ((_, refused),) = robustness.moved(
        models, Shown(shown.picture, reasons=("It is a cat.",)), "baseline"
    )
    assert "It is a cat." in refused and "class='probes'" not in refused


def test_patches_say_where_covering_changes_most():
    falls = np.zeros((9, 9), np.float32)
    falls[8, 8], falls[0, 4] = 0.4, -0.2
    text = robustness.patches(Radiograph(np.zeros((100, 150), np.uint8), "x"), falls, 0.9)
    assert (
        "Covered at its most important place, the lower right of the picture, the probability falls"
        " by 40.0 points, from 90.0% to 50.0%." in text
    )
    assert "Covering the upper centre raises it most, by 20.0 points." in text
    film = re.search(r"film pneumonia' src='data:image/webp;base64,([^']+)'", text)
    alpha = np.asarray(Image.open(io.BytesIO(base64.b64decode(film[1]))).convert("RGBA"))[..., 3]
    assert alpha.shape == (213, 320) and alpha[-1, -1] > 250 and alpha[0].max() < 5


def test_patches_of_no_effect_are_pale_and_said_to_be():
    falls = np.full((9, 9), 0.004, np.float32)
    text = robustness.patches(Radiograph(np.zeros((100, 100), np.uint8), "x"), falls, 0.9)
    assert moves_words.OCCLUSION_FLAT.format(points="0.4") in text
    film = re.search(r"film pneumonia' src='data:image/webp;base64,([^']+)'", text)
    # A hundredth of the full colour's tenth.
    assert (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(film[1]))).convert("RGBA"))[..., 3].max()
        < 16
    )


def test_explain_is_plain_data_that_adds_up(models, shown, monkeypatch):
    (explain,) = robustness.endpoints(models)
    monkeypatch.setattr(robustness, "received", lambda _: shown)
    found = explain({}, "augmented")
    assert set(found) == set(robustness.Explanation.__annotations__)
    assert np.shape(found["cells"]) == (found["height"], found["width"]) == (8, 8)
    assert 1 / (1 + np.exp(-found["logit"])) == pytest.approx(found["probability"], abs=1e-5)
    assert [one["probe"] for one in found["moved"]] == [
        probes.ORIGINAL,
        *(probe.name for probe in probes.PROBES),
    ]
    assert found["moved"][0]["probability"] == pytest.approx(found["probability"], abs=1e-5)
    assert found["picture"].startswith("data:image/jpeg;base64,")


# --- the report
# -------------------------------------------------------------------------------------------------------------------------
def test_the_report_holds_everything_and_asks_for_nothing(models, shown):
    reading = answers.with_heat(models, "baseline", answers.read(models, "baseline", shown))
    moved = probed({probes.LUNGS_HIDDEN: 0.1, "brighter": 0.95})
    text = report.page(reading, moved, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    spec = models["baseline"].spec
    for part in (
        spec.weights_sha256,
        spec.commit,
        "2026-01-02 03:04 UTC",
        answers.cost_sentence(reading),
        "Not a medical device",
        "120 × 96 pixels",
    ):
        assert part in text
    assert "my chest &lt;1&gt;.png" in text and "no such range was measured" in text
    assert not re.search(r"https?://|<script|<link|url\(", text)
    pictures = re.findall(r"src='data:image/(jpeg|png);base64,([^']+)'", text)
    assert [Image.open(io.BytesIO(base64.b64decode(data))).size for _, data in pictures] == [
        (120, 96),
        (120, 96),
        (64, 64),
    ]
    assert (
        "lungs hidden</th><td>10.0%</td><td>NORMAL" in text
        and probes.sentence(moved, 0.5).split(":")[0] in text
    )
    assert report_words.MOVED in text and report_words.MOVED not in report.page(reading)


def test_the_report_is_named_after_the_picture_and_nothing_else(models, shown):
    reading = answers.read(models, "baseline", shown)
    assert report.file_name(reading) == "report-my-chest-1-baseline.html"
    odd = Shown(Radiograph(shown.picture.pixels, "../../<é>.jpeg"))
    assert report.file_name(answers.read(models, "baseline", odd)) == "report-x-ray-baseline.html"
