"""What programs may ask for: types and values, for every endpoint the same."""

from __future__ import annotations

import gradio as gr
import pytest

import app
from page import arguments, uploads
from page.served import Models
from page.uploads import Uploads


@pytest.fixture
def models(models_folder):
    return Models(models_folder)


@pytest.fixture
def upload(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    kept = Uploads()
    place = kept.place()
    (place / "a.jpeg").write_bytes(b"x")
    kept.mark_arrived(place)
    yield {"path": str(place / "a.jpeg"), "meta": {"_type": "gradio.FileData"}}
    kept.close()


def echo(models):
    """An endpoint that returns what it was given."""

    def endpoint(
        image, variant="baseline", operating_point="default", force=False, count=16, layer="conv1"
    ):
        return [image, variant, operating_point, force, count, layer]

    return arguments.check_arguments(models, endpoint)


def test_null_stands_for_the_default(models, upload):
    expected = [upload, "baseline", "default", False, 16, "conv1"]
    assert echo(models)(upload) == expected
    assert echo(models)(upload, None, None, None, None, None) == expected
    given = ["augmented", "recall-0.98", True, 64, "conv2"]
    assert echo(models)(upload, *given) == [upload, *given]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((0, value) for value in (None, "x", 3, {}, [], {"path": "/etc/hostname"}, True)),
        *((1, value) for value in ("basline", "../baseline", "", 3, [], {}, True)),
        *((2, value) for value in ("recall-95", "", 0.98, [], {"default": 1}, False)),
        *((3, value) for value in ("false", "true", 0, 1, [], {})),
        *((4, value) for value in ("ten", 0, 65, -1, True, 1.5, [], 10**30)),
        *((5, value) for value in ("conv9", "", 1, [], {})),
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(models, upload, place, value):
    given = [upload, "baseline", "default", False, 16, "conv1"]
    given[place] = value
    with pytest.raises(gr.Error) as caught:
        echo(models)(*given)
    said = caught.value.message
    assert said.endswith(".") and len(said) < 400 and not caught.value.print_exception
    # The file has not been touched; a second, right request finds it.
    with uploads.hold_upload(upload):
        pass


def test_a_list_of_files_has_bounds(models, upload):
    def endpoint(images):
        return len(images)

    checked = arguments.check_arguments(models, endpoint)
    assert checked([upload, upload]) == 2
    for wrong in ([], upload, "x", [upload] * 101, [upload, "x"], [None]):
        with pytest.raises(gr.Error):
            checked(wrong)


def test_every_endpoint_is_checked(models_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = app.build_app(models_folder)
    public = [fn for fn in page.fns.values() if fn.api_visibility == "public"]
    assert {fn.api_name for fn in public} == {
        *("predict", "compare", "robustness", "activations", "batch")
    }
    for fn in public:
        with pytest.raises(gr.Error, match=r"\.['\"]$"):
            fn.fn(*[["no", "such", "thing"]] * len(fn.inputs))

    def unheard_of(anything):
        return anything

    with pytest.raises(TypeError, match="anything"):
        arguments.check_arguments(Models(models_folder), unheard_of)
