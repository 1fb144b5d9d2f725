"""The short form of ``make stress``: every kind of hostile input once, and a few clients."""

from __future__ import annotations

import stress


def test_the_app_stands_a_little_of_everything(small_models_folder, monkeypatch):
    # How long it takes and how much memory is for an idle machine to say: make stress.
    monkeypatch.setattr(stress, "SECONDS", 60.0)
    monkeypatch.setattr(stress, "MEMORY", 2e9)
    assert stress.run(small_models_folder, inputs=20, requests=14, clients=4, crowd=30) == []
