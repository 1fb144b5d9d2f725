"""What the tabs Predict, Compare and Robustness, and the report, say of answers that were worked
out by hand.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from page import answers, compare, predict, report, robustness, shared, verdicts
from page import words as shared_words
from page.served import Models, Shown
from page.words import answers as said
from page.words import compare as compare_words
from page.words import report as report_words
from page.words import robustness as robustness_words
from pneumonia import OperatingPoint, Radiograph, probes
from pneumonia.model_spec import Estimate


@pytest.fixture(scope="module")
def models(models_folder):
    return Models(models_folder)


@pytest.fixture
def shown(drawn_radiograph):
    return Shown(Radiograph(drawn_radiograph(4, 1), "my chest <1>.png"))


def make_results(values: dict[str, float]) -> list[probes.Probed]:
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


# --- predict, and the bench
def test_predict_answers_first_and_draws_afterwards(models, shown):
    first, second = predict.answer_picture(models, shown, "baseline", "default")
    assert said.DRAWING in first and "class='film" not in first
    assert second.count("class='film") == 2 and said.DRAWING not in second
    words = [
        re.search(r"class='verdict-box'>(.*?)</div><figure", text, re.S) for text in (first, second)
    ]
    assert words[0][1] == words[1][1]
    # Read aloud once, in one sentence, and not again when the heat map comes.
    assert [text.count("data-say=") for text in (first, second)] == [1, 0]


def test_predict_says_why_it_does_not_answer(models, shown):
    (gone,) = predict.answer_picture(models, None, "baseline", "default")
    assert shared_words.GONE in gone
    (broken,) = predict.answer_picture(models, "It is damaged.", "baseline", "default")
    assert "It is damaged." in broken and "class='verdict" not in broken
    refused = Shown(shown.picture, reasons=("It is in colour.",))
    (text,) = predict.answer_picture(models, refused, "baseline", "default")
    assert "<li>It is in colour.</li>" in text and "class='probability'" not in text


def test_a_forced_answer_carries_its_warning_first_and_no_figure_of_its_worth(models, shown):
    forced = Shown(shown.picture, reasons=("It is in colour.",), forced=True)
    text = list(predict.answer_picture(models, forced, "baseline", "default"))[-1]
    assert text.index(said.FORCED) < text.index("class='verdict ")
    page = report.page(answers.read(models, "baseline", forced))
    assert page.index(said.FORCED) < page.index("class='verdict ")
    for one in (text, page):
        assert "It is in colour." in one
        assert "Of 100 children" not in one and said.FACTS["missed"] not in one


def test_the_setting_keeps_the_point_a_model_has(models, make_spec, monkeypatch):
    kept = shared.settings(models, "baseline", "recall-0.98")
    assert [name for _, name in kept.choices] == ["recall-0.98", "default"]
    assert kept.value == "recall-0.98" and kept.interactive
    assert shared.settings(models, "baseline", "recall-0.42").value == "default"
    # A name that shares its threshold with the usual setting is that setting.
    points = (OperatingPoint("default", 0.3, 0.98), OperatingPoint("recall-0.98", 0.3, 0.98))
    spec = make_spec("baseline", (64, 64), operating_points=points)
    monkeypatch.setattr(models, "evidence", lambda _: type("Known", (), {"spec": spec}))
    fixed = shared.settings(models, "baseline", "recall-0.98")
    assert (len(fixed.choices), fixed.value, fixed.interactive) == (1, "default", False)


def test_a_follower_runs_once_for_the_same_values_and_never_before_the_address_is_read():
    asked = []
    once = shared._once_for_the_same(lambda value: asked.append(value) or "done", 1)
    once(None, False, "")
    before, result = once(None, True, "a")
    assert (result, asked) == ("done", ["a"])
    once(before, True, "a")
    assert asked == ["a"]
    # What was forgotten since is answered for: the function says so.
    once(before, True, "")
    assert asked == ["a", ""]


# --- compare
# ---
def test_models_answer_one_after_the_other_in_one_row_and_their_agreement_stands_on_top(
    models, shown
):
    steps = list(compare.compare_models(models, shown, "default"))
    assert [text.count("class='probability'") for text in steps] == [0, 1, 2, 3, 3]
    assert all(text.count("<article") == 3 for text in steps)
    called = {models.title(name): answers.read(models, name, shown).called for name in models.names}
    found = [compare_words.agreement(called) in text for text in steps]
    assert found == [False, False, False, True, True]
    assert steps[-1].count("class='film") == 6 and steps[-1].index("agreement") < steps[-1].index(
        "<article"
    )
    assert [text.count("data-say=") for text in steps] == [0, 0, 0, 1, 0]
    names = re.findall(r"name='([^']+)'", steps[-1])
    assert sorted(set(names)) == sorted(f"compare-{name}" for name in models.names)


def test_compare_asks_nobody_about_a_refused_picture(models, shown, monkeypatch):
    monkeypatch.setattr(answers, "read", lambda *_: pytest.fail("a refused picture was read"))
    (step,) = compare.compare_models(
        models, Shown(shown.picture, reasons=("It is a cat.",)), "default"
    )
    assert "It is a cat." in step and "class='probability'" not in step


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


# --- robustness
# ---
def test_the_chart_is_a_table_of_every_probe_with_the_threshold_in_each_row():
    text = robustness.chart(
        make_results({probes.LUNGS_HIDDEN: 0.1, "brighter": 0.95, "blur": 0.41}), 0.4, 0.5
    )
    assert text.count("<tr class='") - text.count("<tr class='kind'>") == 4
    assert text.count("class='mark' style='left:40.00%'") == 4
    widths = [float(value) for value in re.findall(r"fill' style='width:([\d.]+)%", text)]
    assert widths == [90, 10, 95, 41]
    changes = re.findall(r"class='number change'>([^<]*)</td>", text)
    assert changes == ["", "−80.0", "+5.0", "−49.0"]
    # Uncertain is a state of its own.
    states = re.findall(r"<tr class='(normal|pneumonia|uncertain)'", text)
    assert states == ["pneumonia", "normal", "pneumonia", "uncertain"]
    for kind in ("", "lungs", "exposure", "encoding"):
        assert text.count(robustness_words.KINDS[kind]) == 1
    assert set(robustness_words.KINDS) == {"", *probes.KINDS}


@pytest.mark.parametrize("untouched", ["PNEUMONIA", "UNCERTAIN", "NORMAL"])
@pytest.mark.parametrize("hidden", ["PNEUMONIA", "UNCERTAIN", "NORMAL"])
def test_the_sentence_leads_with_what_hiding_the_lungs_does(untouched, hidden):
    at = {"PNEUMONIA": 0.9, "UNCERTAIN": 0.41, "NORMAL": 0.05}
    results = make_results({probes.LUNGS_HIDDEN: at[hidden], "blur": 0.42})
    results[0] = dataclasses.replace(results[0], probability=at[untouched])
    text = robustness.sentence(results, 0.4, 0.5)
    assert text.startswith(f"{verdicts.percent(at[untouched])} → {verdicts.percent(at[hidden])} ")
    assert ("stays" in text.split(". ")[1]) is (untouched == hidden)
    # What is uncertain is never said to turn to a label, nor named twice.
    assert text.count("blurred") == (untouched != "UNCERTAIN")
    assert "blurred (PNEUMONIA" not in text


def test_the_sentence_counts_what_leaves_the_lungs_in_sight_and_no_inverted_picture():
    steady = robustness.sentence(
        make_results({probes.LUNGS_HIDDEN: 0.1, "brighter": 0.95, probes.INVERTED: 0.0}), 0.4
    )
    assert robustness_words.STEADY.format(before="PNEUMONIA", count=1) in steady
    turning = robustness.sentence(make_results({probes.LUNGS_HIDDEN: 0.1, "brighter": 0.2}), 0.4)
    assert "1 of 1 other changes" in turning and "brighter (NORMAL, 20.0%)" in turning
    with pytest.raises(ValueError, match="untouched"):
        robustness.sentence(make_results({"brighter": 0.2})[1:], 0.4)


def test_probes_run_on_the_visitors_own_picture_at_the_chosen_setting(models, shown):
    patches, chart = robustness.probe_picture(models, shown, "baseline", "recall-0.98")
    assert patches == "" and chart.count("class='shot'") == len(probes.PROBES) + 1
    assert chart.count("left:20.00%") == len(probes.PROBES) + 1
    refused = Shown(shown.picture, reasons=("It is a cat.",))
    _, text = robustness.probe_picture(models, refused, "baseline", "default")
    assert "It is a cat." in text and "class='probes'" not in text


def test_what_the_model_makes_of_hidden_lungs_is_said_where_it_was_measured(models, monkeypatch):
    assert robustness.habit(models, "baseline") == ""
    rate = {
        name: {
            "recall": Estimate(recall, 0, 1, "wilson"),
            "specificity": Estimate(1 - alarms, 0, 1, "wilson"),
        }
        for name, recall, alarms in ((probes.LUNGS_HIDDEN, 0.9, 0.25), (probes.LUNGS_ONLY, 1, 1))
    }
    monkeypatch.setattr(
        robustness, "find_robustness", lambda *_: SimpleNamespace(figures={"test": rate})
    )
    said = robustness.habit(models, "baseline")
    assert re.findall(r"[\d.]+%", said) == ["90.0%", "25.0%", "99.9%", "99.9%"]


def test_patches_say_where_covering_changes_most():
    falls = np.zeros((9, 9), np.float32)
    falls[8, 8], falls[0, 4] = 0.4, -0.2
    text = robustness.patches(Radiograph(np.zeros((100, 150), np.uint8), "x"), falls, 0.9)
    assert "90.0% → 50.0% with the lower right covered" in text
    # The larger move comes first.
    assert text.index("with the lower right covered") < text.index("with the upper centre covered")
    other = robustness.patches(Radiograph(np.zeros((100, 150), np.uint8), "x"), -falls, 0.5)
    assert other.index("50.0% → 90.0% with the lower") < other.index("50.0% → 30.0% with the upper")
    falls[0, 4], falls[7, 8] = 0, -0.2
    again = robustness.patches(Radiograph(np.zeros((100, 150), np.uint8), "x"), falls, 0.5)
    assert re.sub("<.*?>", "", again).count("lower right") == 1
    film = re.search(r"film pneumonia' src='data:image/webp;base64,([^']+)'", text)
    alpha = np.asarray(Image.open(io.BytesIO(base64.b64decode(film[1]))).convert("RGBA"))[..., 3]
    assert alpha.shape == (213, 320) and alpha[-1, -1] > 250 and alpha[0].max() < 5


def test_patches_of_no_effect_are_pale_and_said_to_be():
    falls = np.full((9, 9), 0.004, np.float32)
    text = robustness.patches(Radiograph(np.zeros((100, 100), np.uint8), "x"), falls, 0.9)
    assert robustness_words.OCCLUSION_FLAT.format(points="0.4") in text
    film = re.search(r"film pneumonia' src='data:image/webp;base64,([^']+)'", text)
    # A hundredth of the full colour's tenth.
    assert (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(film[1]))).convert("RGBA"))[..., 3].max()
        < 16
    )


def test_explain_is_plain_data_that_adds_up(models, shown, monkeypatch):
    (explain,) = robustness.endpoints(models)
    monkeypatch.setattr(robustness, "receive_upload", lambda _: shown)
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
# ---
def test_the_report_holds_everything_and_asks_for_nothing(models, shown):
    reading = answers.with_heat(models, "baseline", answers.read(models, "baseline", shown))
    moved = make_results({probes.LUNGS_HIDDEN: 0.1, "brighter": 0.95})
    text = report.page(reading, moved, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    spec = models["baseline"].spec
    for part in (
        spec.weights_sha256[:12],
        "2026-01-02 03:04 UTC",
        answers.cost_sentence(reading),
        "Not a medical device",
        "120 × 96 pixels",
    ):
        assert part in text
    assert "my chest &lt;1&gt;.png" in text
    assert not re.search(r"https?://|<script|<link|url\(", text)
    pictures = re.findall(r"src='data:image/(jpeg|png);base64,([^']+)'", text)
    assert [Image.open(io.BytesIO(base64.b64decode(data))).size for _, data in pictures] == [
        (120, 96),
        (120, 96),
        (64, 64),
    ]
    assert (
        "lungs hidden</th><td>10.0%</td><td>NORMAL" in text
        and robustness.sentence(moved, 0.5).split(":")[0] in text
    )
    assert report_words.MOVED in text and report_words.MOVED not in report.page(reading)


def test_the_report_is_named_after_the_picture_and_nothing_else(models, shown):
    reading = answers.read(models, "baseline", shown)
    assert report.file_name(reading) == "report-my-chest-1-baseline.html"
    odd = Shown(Radiograph(shown.picture.pixels, "../../<é>.jpeg"))
    assert report.file_name(answers.read(models, "baseline", odd)) == "report-x-ray-baseline.html"


def test_the_same_pixels_with_another_reason_are_another_picture(shown):
    assert dataclasses.replace(shown).key == shown.key
    assert dataclasses.replace(shown, reasons=("It is in colour.",)).key != shown.key
    assert dataclasses.replace(shown, forced=True).key != shown.key
