from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from page import answers, verdicts
from page.served import Models, Shown
from page.words import answers as words
from pneumonia import OperatingPoint, PneumoniaClassifier, Radiograph, heatmaps
from pneumonia.evidence import Outcome
from pneumonia.familiarity import UNFAMILIAR

# Of five pneumonias two lie below 0.5 and one of them below 0.2; of five healthy one lies at 0.5
# and another between.
PREDICTIONS = [
    (1, 0.9),
    (1, 0.8),
    (1, 0.7),
    (1, 0.3),
    (1, 0.1),
    (0, 0.5),
    (0, 0.3),
    (0, 0.1),
    (0, 0.1),
    (0, 0.0),
]


@pytest.fixture
def models(models_folder, tmp_path):
    """The baseline and the augmented network in a folder of their own, which a test may alter; the
    baseline with its table of predictions.
    """
    for name in ("baseline", "augmented"):
        shutil.copytree(models_folder / name, tmp_path / name)
    rows = "".join(
        f"test/{place}.jpeg,{label},{value}\n" for place, (label, value) in enumerate(PREDICTIONS)
    )
    (tmp_path / "baseline" / answers.PREDICTIONS).write_text(f"file,label,probability\n{rows}")
    return Models(tmp_path)


@pytest.fixture
def shown(drawn_radiograph):
    return Shown(Radiograph(drawn_radiograph(4, 1), "chest.png"))


def rewrite_spec(folder: Path, **changes) -> None:
    file = folder / "model_spec.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_uncertain_stretch_is_measured_in_logits():
    # ln 3 on either side of an even chance: one to three and three to one.
    assert answers.uncertain_between(0.5, math.log(3)) == pytest.approx((0.25, 0.75))
    assert answers.uncertain_between(0.2, 0) == (0.2, 0.2)
    low, high = answers.uncertain_between(0.0, 1.0)
    assert 0 < low < high < 1e-5
    assert [answers.call(value, 0.5, math.log(3)) for value in (0.24, 0.26, 0.74, 0.76)] == [
        "NORMAL",
        "UNCERTAIN",
        "UNCERTAIN",
        "PNEUMONIA",
    ]
    assert [answers.call(value, 0.2, 0) for value in (0.199, 0.2)] == ["NORMAL", "PNEUMONIA"]


def test_points_are_offered_once_a_threshold_from_the_most_sensitive(make_spec):
    named = [
        OperatingPoint("default", 0.3, 0.98),
        OperatingPoint("recall-0.99", 0.1, 0.99),
        OperatingPoint("recall-0.95", 0.6, 0.95),
    ]
    spec = make_spec(
        "baseline", (64, 64), operating_points=(*named, OperatingPoint("recall-0.98", 0.3, 0.98))
    )
    offered = answers.points(spec)
    assert [point.name for point in offered] == ["recall-0.99", "default", "recall-0.95"]
    more, usual, fewer = words.point_names(offered)
    assert words.MORE in more and words.USUAL in usual and words.FEWER in fewer
    assert words.point_names([OperatingPoint("default", 0.5)]) == ["fixed at 50.0%"]
    assert answers.point_of(spec, "recall-0.99").threshold == 0.1
    assert answers.point_of(spec, "recall-0.42").name == "default"


def test_a_reading_counts_the_cost_of_the_very_point_it_was_given_at(models, shown):
    usual = answers.read(models, "baseline", shown)
    strict = answers.read(models, "baseline", shown, "recall-0.98")
    assert (usual.point.threshold, usual.cost) == (0.5, Outcome(0.5, 2, 5, 1, 5))
    assert (strict.point.threshold, strict.cost) == (0.2, Outcome(0.2, 1, 5, 2, 5))
    assert usual.prediction.probability == pytest.approx(
        models["baseline"].predict(shown.picture).probability
    )
    assert usual.seen.shape == (64, 64)
    assert answers.cost_sentence(strict) == words.COST.format(missed="about 20", alarms="about 40")
    # All that is counted follows the setting.
    assert "1 of 5, 20.0%" in verdicts.facts(strict) and "2 of 5, 40.0%" in verdicts.facts(usual)
    # Of the answers PNEUMONIA: 4 right of 4 + 2, 3 right of 3 + 1.
    assert "4 of 6, 66.7%" in verdicts.facts(strict) and "3 of 4, 75.0%" in verdicts.facts(usual)


@pytest.mark.parametrize(
    ("count", "total", "said"),
    [(0, 390, "fewer than 1"), (2, 390, "about 1"), (80, 234, "about 34"), (5, 5, "nearly all")],
)
def test_people_of_a_hundred(count, total, said):
    assert words.of_hundred(count, total) == said


def test_a_setting_that_clears_hardly_anybody_is_said_to_tell_nothing(models, shown):
    usual = answers.read(models, "baseline", shown)
    for called_back, says_so in ((17, False), (18, True), (20, True)):
        sentence = answers.cost_sentence(
            dataclasses.replace(usual, cost=Outcome(0.01, 0, 5, called_back, 20))
        )
        assert sentence.endswith(words.TELLS_LITTLE) is says_so


def test_without_a_table_only_the_measured_threshold_has_a_cost(models, shown):
    assert answers.read(models, "augmented", shown).cost == Outcome(0.5, 10, 100, 10, 50)
    other = answers.read(models, "augmented", shown, "recall-0.98")
    assert other.cost is None and answers.cost_sentence(other) == words.NO_COST


def test_weights_from_elsewhere_use_the_bundled_table_only_if_they_are_the_same(
    models, tmp_path_factory
):
    elsewhere = tmp_path_factory.mktemp("hub") / "snapshot"
    shutil.copytree(
        models.folder / "baseline",
        elsewhere,
        ignore=shutil.ignore_patterns(answers.PREDICTIONS, "metrics.json"),
    )
    same = PneumoniaClassifier.from_pretrained(elsewhere)
    assert answers.cost(models, "baseline", same, 0.2) == Outcome(0.2, 1, 5, 2, 5)
    rewrite_spec(models.folder / "baseline", weights_sha256="0" * 64)
    assert answers.cost(models, "baseline", same, 0.2) is None
    assert answers.cost(models, "somebody/else", same, 0.2) is None


def test_near_the_threshold_there_is_no_label(models, shown):
    rewrite_spec(models.folder / "baseline", uncertainty=50.0)
    reading = answers.read(models, "baseline", shown)
    answer = answers.build_answer(reading)
    assert (reading.called, answer["answer"]) == ("UNCERTAIN", "UNCERTAIN")
    assert (
        answer["label"] in ("NORMAL", "PNEUMONIA")
        and answer["uncertain_from"] < answer["probability"] < answer["uncertain_to"]
    )
    text = verdicts.render_answer(reading)
    assert (
        words.CALLED["UNCERTAIN"] in text and "class='band'" in text and words.UNCERTAIN_WHY in text
    )
    assert (
        "class='verdict uncertain'" in text
        and ">PNEUMONIA</p>" not in text
        and ">NORMAL</p>" not in text
    )


def test_an_answer_is_plain_data(models, shown):
    answer = answers.build_answer(answers.read(models, "baseline", shown))
    assert json.loads(json.dumps(answer)) == answer
    assert set(answer) == set(answers.Answer.__annotations__)
    assert (answer["cost"]["missed"], answer["cost"]["ill"]) == (2, 5)
    assert answer["cost"]["missed_low"] < 0.4 < answer["cost"]["missed_high"]
    assert (answer["uncertain_from"], answer["uncertain_to"], answer["calibrated"]) == (
        0.5,
        0.5,
        False,
    )
    assert (
        answers.build_answer(answers.read(models, "augmented", shown, "recall-0.98"))["cost"]
        is None
    )


def test_a_network_that_ends_otherwise_is_answered_without_a_map(models, shown, monkeypatch):
    reading = answers.read(models, "baseline", shown)
    assert answers.with_heat(models, "baseline", reading).heat.layer == "pool3"

    def refuse(*_):
        raise ValueError("ends otherwise")

    monkeypatch.setattr(heatmaps, "contributions", refuse)
    assert answers.with_heat(models, "baseline", reading) is reading
    assert words.NOTHING_TO_SHOW in verdicts.render_answer(
        reading
    ) and words.DRAWING in verdicts.render_answer(reading, drawing=True)


def test_the_share_in_the_lungs_is_counted_by_hand():
    shares, mask = np.array([[3, 1], [0, 1]], np.float32), np.array([[True, False], [False, False]])
    assert answers.inside(shares, mask) == (0.6, 0.25)
    assert answers.inside(np.zeros((2, 2)), mask) is None


@pytest.mark.parametrize(
    ("in_lungs", "said"),
    [
        ((0.6, 0.25), words.LUNGS_MOST.format(share="60%", area="25%")),
        ((0.6, 0.65), words.LUNGS_LITTLE.format(share="60%", area="65%")),
        ((0.4, 0.25), words.LUNGS_PART.format(share="40%", area="25%")),
        ((0.2, 0.25), words.LUNGS_LITTLE.format(share="20%", area="25%")),
        (None, words.LUNGS_UNKNOWN),
    ],
)
def test_how_much_lies_in_the_lungs_is_said_of_each_class(models, shown, in_lungs, said):
    heat = heatmaps.HeatMap(
        np.array([[0, 0], [0, 2]], np.float32), 2.0, "pool3", (2, 2), ((1, 0), (1, 0))
    )
    reading = dataclasses.replace(
        answers.read(models, "baseline", shown),
        heat=heat,
        in_lungs={"PNEUMONIA": in_lungs} if in_lungs else None,
    )
    assert verdicts.inside(reading, "PNEUMONIA") == said
    # Nothing speaks for the other class, so the map opens on this one, whatever was answered.
    assert verdicts.inside(reading, "NORMAL") == ""
    assert dataclasses.replace(reading, called="NORMAL").towards == "PNEUMONIA"


def test_a_refusal_holds_until_it_is_forced(shown):
    refused = dataclasses.replace(shown, reasons=("It is in colour.", "It is <small>."))
    with pytest.raises(gr.Error, match=r"It is in colour\. It is &lt;small&gt;\. Send force=true"):
        answers.must_be_answered(refused, force=False)
    assert answers.must_be_answered(refused, force=True) is refused
    assert answers.must_be_answered(shown, force=False) is shown
    forced = dataclasses.replace(refused, forced=True)
    assert answers.must_be_answered(forced, force=False) is forced and forced.key != refused.key
    text = verdicts.instead(refused)
    assert (
        "<li>It is in colour.</li><li>It is &lt;small&gt;.</li>" in text
        and "data-force" in text
        and "chest.png" in text
    )


def test_the_panel_escapes_names_and_shows_films_for_both_classes(models, drawn_radiograph):
    picture = Radiograph(drawn_radiograph(4, 1), "<script>${alert(1)}{{x}}'")
    reading = answers.with_heat(
        models,
        "baseline",
        answers.read(
            models,
            "baseline",
            Shown(picture, truth="NORMAL", reasons=("It is blue.",), forced=True),
        ),
    )
    text = verdicts.render_answer(reading)
    assert "<script" not in text and "${" not in text and "{{" not in text and "}'" not in text
    assert (
        text.count("class='film ") == 2
        and text.count("type='radio'") == 2
        and text.count(" checked") == 1
    )
    assert f"data-towards='{reading.towards}'" in text
    # A sentence of its own for each class, which follows the switch.
    assert all(text.count(f"data-for='{label}'") == 1 for label in ("NORMAL", "PNEUMONIA"))
    assert "The data set calls this example NORMAL" in text and "It is blue." in text


def test_a_film_has_the_aspect_of_the_x_ray_and_colours_only_the_heat():
    heat = heatmaps.HeatMap(
        np.array([[0, 0], [0, 2]], np.float32), 2.0, "pool3", (2, 2), ((1, 0), (1, 0))
    )
    film = verdicts.film(heat, Radiograph(np.zeros((100, 200), np.uint8), "x"), "PNEUMONIA")
    assert film.size == (verdicts.FILM_SIDE, verdicts.FILM_SIDE // 2) and film.mode == "RGBA"
    alpha = np.asarray(film)[..., 3]
    assert alpha[0, 0] == 0 and alpha[-1, -1] == 255
    said = verdicts.strongest(heat, "PNEUMONIA")
    assert "PNEUMONIA" in said and "lower right" in said
    assert verdicts.strongest(heat, "NORMAL") == words.HEAT_NONE.format(label="NORMAL")


@pytest.mark.parametrize(
    ("down", "across", "said"),
    [
        (0.1, 0.1, "upper left"),
        (0.5, 0.5, "centre"),
        (0.5, 0.9, "middle right"),
        (0.99, 0.5, "lower centre"),
        (1.0, 1.0, "lower right"),
    ],
)
def test_a_place_in_words(down, across, said):
    assert verdicts.place_of(down, across) == said


def test_a_setting_says_what_held_out_patients_say_of_its_recall():
    said = words.held_out_recall(OperatingPoint("recall-0.98", 0.1, 0.98, (0.961, 0.989)))
    assert all(figure in said for figure in ("98%", "96.1%", "98.9%"))
    assert words.held_out_recall(OperatingPoint("default", 0.5)) == ""


def test_an_unfamiliar_xray_says_why_and_claims_no_error_rate(models, shown):
    reading = answers.read(models, "baseline", shown)
    foreign = dataclasses.replace(
        reading,
        prediction=dataclasses.replace(reading.prediction, unfamiliar=True, uncertain=True),
        called="UNCERTAIN",
    )
    assert answers.cost_sentence(foreign) == ""
    assert answers.why_uncertain(foreign) == UNFAMILIAR
    assert UNFAMILIAR in verdicts.sentence(foreign)
    assert answers.why_uncertain(dataclasses.replace(reading, called="NORMAL")) == ""
