"""Views: what each cuts from a picture, and the answer as the mean of their logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pneumonia import lungs, radiograph
from pneumonia.classifier import PneumoniaClassifier, sigmoid
from pneumonia.model_spec import ModelSpec, OperatingPoint, SingleView
from pneumonia.radiograph import Radiograph
from pneumonia.views import VIEWS, View, draw_view, draw_views


@pytest.fixture
def picture() -> np.ndarray:
    rows, columns = np.mgrid[0:224, 0:224]
    return ((rows + 2 * columns) % 256).astype(np.uint8)


def test_the_plain_view_is_the_picture_at_the_input_size(picture):
    expected = radiograph.resize(Radiograph(picture, "x"), (100, 120))
    np.testing.assert_array_equal(draw_view(picture, VIEWS["plain"], (100, 120)), expected)


def test_a_mirrored_view_is_the_plain_one_from_right_to_left(picture):
    plain, mirrored = draw_views(picture[np.newaxis], ("plain", "mirror"), (96, 96))[:, 0]
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_a_wider_view_has_a_black_border_of_its_share(picture):
    white = np.full((200, 200), 255, np.uint8)
    view = draw_view(white, View(scale=1.25), (100, 100))
    # A quarter more than the picture: a tenth of the view on each side.
    assert (view[:9] == 0).all() and (view[:, :9] == 0).all() and (view[-9:] == 0).all()
    assert (view[11:-11, 11:-11] == 255).all()


def test_a_turned_view_turns_about_the_middle():
    black = np.zeros((101, 101), np.uint8)
    black[50, 50:] = 255
    view = draw_view(black, View(angle=90.0), (101, 101))
    assert view[:40, 50].min() > 200 and view[60:, 50].max() == 0


def test_a_level_view_brings_the_outline_to_equal_width_and_height():
    # A bright box where the lungs are said to be: centre (.4, .5), half-sides .2 and .4.
    picture = np.zeros((200, 200), np.uint8)
    picture[20:180, 40:120] = 255
    pose = np.array([0.4, 0.5, np.log(0.2), np.log(0.4), 0.0])
    view = draw_view(picture, View(scale=0.25, level=True), (80, 80), pose)
    # Half of width and height over the view's sides is a quarter: pixels 20 to 59 of 80.
    assert (view[22:58, 22:58] == 255).all()
    assert view[:18].max() == view[62:].max() == view[:, :18].max() == view[:, 62:].max() == 0


def test_a_level_view_needs_to_know_where_the_lungs_are(picture):
    with pytest.raises(ValueError, match="pose"):
        draw_view(picture, VIEWS["level"], (64, 64))


def test_level_views_take_the_outline_of_each_picture(picture):
    drawn = draw_views(np.stack([picture, picture[::-1]]), ("level",), (64, 64))
    for found, whole in zip(drawn[0], (picture, picture[::-1]), strict=True):
        pose = lungs.place(np.ascontiguousarray(whole))
        expected = draw_view(whole, VIEWS["level"], (64, 64), pose)
        np.testing.assert_array_equal(found, expected)


class Brightness:
    """A network that answers with the mean grey of the left half of a view over 255."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images[:, :, : images.shape[2] // 2].mean(axis=(1, 2)) / 255


@pytest.fixture
def classifier(make_spec) -> PneumoniaClassifier:
    points = (OperatingPoint("default", 0.3), OperatingPoint("recall-0.98", 0.3))
    quick = SingleView(4.0, (OperatingPoint("default", 0.7), OperatingPoint("recall-0.98", 0.7)))
    spec = replace(
        make_spec("baseline", (64, 64)),
        views=("plain", "mirror"),
        temperature=2.0,
        operating_points=points,
        single_view=quick,
    )
    made = PneumoniaClassifier(None, spec)
    made.network = Brightness()
    return made


def half_lit() -> Radiograph:
    pixels = np.full((224, 224), 51, np.uint8)
    pixels[:, 112:] = 204
    return Radiograph(pixels, "half")


def test_the_answer_is_the_mean_logit_over_the_temperature(classifier):
    prepared = classifier.prepare([half_lit()])
    # Mirror images: .2 and .8, whose logits cancel.
    assert classifier.raw(prepared) == pytest.approx([0.5], abs=5e-3)
    assert classifier.raw(prepared, ("plain",)) == pytest.approx([0.2], abs=5e-3)
    assert classifier.probabilities(prepared) == pytest.approx([0.5], abs=5e-3)
    plain = classifier.probabilities(prepared, views=1)
    assert plain == pytest.approx(sigmoid(np.log([0.25]) / 4.0), abs=5e-3)


def test_one_view_has_thresholds_of_its_own(classifier):
    every = classifier.predict(half_lit(), on_invalid="ignore")
    single = classifier.predict(half_lit(), views=1, on_invalid="ignore")
    assert (every.label, every.threshold) == ("PNEUMONIA", 0.3)
    assert (single.label, single.threshold) == ("NORMAL", 0.7)
    named = classifier.predict(
        half_lit(), views=1, operating_point="recall-0.98", on_invalid="ignore"
    )
    assert named.threshold == 0.7


@pytest.mark.parametrize(("views", "error"), [(3, ValueError), (0, ValueError), ("1", TypeError)])
def test_other_numbers_of_views_are_refused(classifier, views, error):
    with pytest.raises(error):
        classifier.predict(half_lit(), views=views)


def test_views_and_their_settings_survive_the_file(classifier):
    assert ModelSpec.from_json(classifier.spec.to_json()) == classifier.spec
