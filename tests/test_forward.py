from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pneumonia import bundle, forward, radiograph
from pneumonia.architectures import CATALOGUE


@pytest.fixture(scope="module", params=list(CATALOGUE))
def network(request):
    variant = CATALOGUE[request.param]
    return forward.Network(variant.build((96, 104)))


def _grey(count, size=(96, 104)):
    return np.random.default_rng(count).integers(0, 256, (count, *size), dtype=np.uint8)


def _eager(network, grey):
    return np.asarray(network.model(radiograph.to_input(grey), training=False))[:, 0]


def test_answers_as_the_network_does_op_by_op_whatever_the_batch(network):
    for count in (1, 3, forward.CHUNK + 1):
        grey = _grey(count)
        answered = network(grey)
        assert answered.shape == (count,) and answered.dtype == np.float64
        np.testing.assert_allclose(answered, _eager(network, grey), atol=1e-5)
        np.testing.assert_allclose(network(radiograph.to_input(grey)), answered, atol=1e-6)
    assert network(_grey(0)).shape == (0,)


def test_is_traced_once_whatever_is_asked_by_however_many(monkeypatch):
    traced = []
    compiled = forward.compile_function

    def count_traces(function, given):
        traced.append(given)
        return compiled(function, given)

    monkeypatch.setattr(forward, "compile_function", count_traces)
    network = forward.Network(CATALOGUE["baseline"].build((64, 64)))
    grey = _grey(6, (64, 64))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda count: network(grey[:count]), [1, 2, 3, 4, 5, 6] * 5))
    assert len(traced) == 1
    for answered in found:
        np.testing.assert_allclose(answered, found[5][: len(answered)], atol=1e-6)


def test_answers_with_the_weights_of_now():
    network = forward.Network(CATALOGUE["baseline"].build((64, 64)))
    grey = _grey(2, (64, 64))
    network(grey)
    network.model.set_weights([value * 0 for value in network.model.get_weights()])
    assert (network(grey) == 0.5).all()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 64, 63), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.zeros((1, 64, 64), np.float32),
        np.zeros((1, 64, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 1), np.float32),
    ],
)
def test_refuses_what_is_no_input_and_says_what_is(images):
    network = forward.Network(CATALOGUE["baseline"].build((64, 64)))
    with pytest.raises(ValueError, match=r"Expected uint8 \(None, 64, 64\)"):
        network(images)


def test_any_size_where_the_network_takes_any():
    network = forward.Network(CATALOGUE["xception"].build((None, None)))
    for size in ((80, 80), (96, 104)):
        assert network(_grey(2, size)).shape == (2,)


def test_bundle_probabilities_are_the_same():
    model = CATALOGUE["baseline"].build((64, 64))
    grey = _grey(5, (64, 64))
    np.testing.assert_array_equal(
        bundle.probabilities(model, radiograph.to_input(grey), 2),
        forward.Network(model)(radiograph.to_input(grey), 2),
    )
