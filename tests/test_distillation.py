"""A teacher's pool: the views are kept with the answers for these very views, a killed run goes on,
and a student learns from them.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pneumonia.classifier import PneumoniaClassifier
from train.__main__ import main
from train.augmentation.policy import Policy
from train.data import folds
from train.recipes.catalogue import get
from train.recipes.recipe import VIEWS
from train.training import distillation
from train.training.fit import fit
from train.training.run_folder import RunError, history_of, run_facts

SIZE = (32, 40)


@pytest.fixture(scope="module")
def pool_folder(models_folder, tiny_scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distil") / "pool"
    distillation.make(
        [models_folder / "baseline"],
        tiny_scan,
        folder,
        policy=Policy(rotation=5),
        views=3,
        size=SIZE,
    )
    return folder


def test_each_view_is_answered_for_by_the_teacher(pool_folder, models_folder, tiny_scan):
    pool = distillation.read(pool_folder)
    fitted = folds.items_of(tiny_scan, folds.FITTED)
    assert pool.files == [item.relative for item in fitted]
    assert pool.answers.shape == (3, len(fitted))
    teacher = PneumoniaClassifier.from_pretrained(models_folder / "baseline")
    for view in range(3):
        assert pool.views[view].shape == (len(fitted), *SIZE)
        expected = teacher.network(
            distillation._resize_views(pool.views[view], teacher.spec.input_size)
        )
        np.testing.assert_allclose(pool.answers[view], expected, atol=1e-5)


def test_a_student_sees_letters_and_shut_margins_the_teacher_does_not(
    models_folder, tiny_scan, tmp_path
):
    answers, views = {}, {}
    for name, policy in {
        "plain": Policy(),
        "artefacts": Policy(letters=1.0, collimate=1.0),
    }.items():
        distillation.make(
            [models_folder / "baseline"],
            tiny_scan,
            tmp_path / name,
            policy=policy,
            views=1,
            size=SIZE,
        )
        pool = distillation.read(tmp_path / name)
        answers[name], views[name] = pool.answers, pool.views[0]
    assert np.array_equal(answers["plain"], answers["artefacts"])
    assert all(
        (artefacts != plain).any()
        for artefacts, plain in zip(views["artefacts"], views["plain"], strict=True)
    )
    # Inside the margins and between the letters a view is as it was.
    assert np.mean(views["artefacts"] == views["plain"]) > 0.5


def test_a_killed_run_goes_on_with_the_next_view(pool_folder, models_folder, tiny_scan):
    whole = distillation.read(pool_folder).fingerprint
    (pool_folder / "view-001.npz").unlink()
    before = (pool_folder / "view-000.npz").stat().st_mtime_ns
    distillation.make(
        [models_folder / "baseline"],
        tiny_scan,
        pool_folder,
        policy=Policy(rotation=5),
        views=3,
        size=SIZE,
    )
    assert distillation.read(pool_folder).fingerprint == whole
    assert (pool_folder / "view-000.npz").stat().st_mtime_ns == before


def test_a_pool_is_learned_from_when_it_is_whole_and_as_far_as_it_was_asked_for(
    models_folder, tiny_scan, tmp_path
):
    def make(views: int) -> None:
        distillation.make(
            [models_folder / "baseline"],
            tiny_scan,
            tmp_path / "pool",
            policy=Policy(rotation=5),
            views=views,
            size=SIZE,
        )

    make(2)
    assert len(distillation.read(tmp_path / "pool").views) == 2
    make(1)
    assert len(distillation.read(tmp_path / "pool").views) == 1
    make(2)
    (tmp_path / "pool" / "view-001.npz").unlink()
    with pytest.raises(RunError, match="holds 1 of 2 views"):
        distillation.read(tmp_path / "pool")


def test_kept_answers_of_other_images_are_noticed_at_once(tiny_scan):
    with pytest.raises(RunError, match="--teachers"):
        distillation.check_kept(tiny_scan)


def test_two_pools_are_never_mixed(pool_folder, models_folder, tiny_scan, tmp_path):
    with pytest.raises(RunError, match="another teacher, policy or data"):
        distillation.make(
            [models_folder / "baseline"],
            tiny_scan,
            pool_folder,
            policy=Policy(rotation=6),
            views=3,
            size=SIZE,
        )
    with pytest.raises(RunError, match="no views"):
        distillation.read(tmp_path)


def test_a_draw_gives_the_chosen_images_views_with_their_answers(pool_folder):
    pool = distillation.read(pool_folder)
    chosen = np.array([4, 0, 4, 2])
    views, answers = pool.draw(chosen, SIZE, np.random.default_rng(1))
    for position, view, answer in zip(chosen, views, answers, strict=True):
        matches = [
            kept
            for kept in range(3)
            if np.array_equal(pool.views[kept][position], view)
            or np.array_equal(pool.views[kept][position][:, ::-1], view)
        ]
        assert [pool.answers[kept, position] for kept in matches] == [answer]
    assert pool.draw(chosen, (16, 20), np.random.default_rng(1))[0].shape == (4, 16, 20)


def test_a_student_learns_from_the_pool_and_the_run_says_which(pool_folder, tiny_scan, tmp_path):
    recipe = replace(
        get("baseline", "first"),
        input_size=(40, 40),
        epochs=2,
        keep_epoch=2,
        batch_size=8,
        schedule="constant",
        warmup=0.0,
        nuisance_reweighting=False,
    )
    with pytest.raises(RunError, match="--pool"):
        fit(recipe, tiny_scan, tmp_path / "without")
    with pytest.raises(RunError, match="uses no pool"):
        fit(replace(recipe, teacher_weight=0.0), tiny_scan, tmp_path / "with", pool=pool_folder)
    fit(recipe, tiny_scan, tmp_path / "run", pool=pool_folder)
    assert run_facts(tmp_path / "run")["pool"] == distillation.read(pool_folder).fingerprint
    told = run_facts(tmp_path / "run")["distillation"]
    assert (told["views"], told["policy"]["rotation"]) == (3, 5) and list(
        map(len, told["teachers"])
    ) == [64]
    assert {"accuracy", "val_accuracy"} <= history_of(tmp_path / "run")[0].keys()
    # Nothing is left to do, and the state with its own measure of accuracy can be read again.
    fit(
        replace(recipe, epochs=3, keep_epoch=3),
        tiny_scan,
        tmp_path / "run",
        pool=pool_folder,
        resume=True,
    )
    assert len(history_of(tmp_path / "run")) == 3


def test_views_of_other_images_are_refused(pool_folder, tiny_scan, tmp_path):
    recipe = replace(
        get("baseline", "original"), input_size=(40, 40), epochs=1, keep_epoch=1, teacher_weight=0.5
    )
    with pytest.raises(RunError, match="other images"):
        fit(recipe, tiny_scan, tmp_path / "run", pool=pool_folder)
    assert json.loads((pool_folder / "pool.json").read_text())["size"] == list(SIZE)


def test_the_share_of_artefacts_views_is_given_on_the_command_line(
    tiny_scan, models_folder, tmp_path, capsys
):
    command = [
        "distil",
        str(models_folder / "baseline"),
        "--data",
        str(tiny_scan.root),
        "--views",
        "1",
    ]
    assert (
        main([*command, "--artefacts", "0.25", "--out", str(tmp_path / "rare")]) == 0
        and main([*command, "--out", str(tmp_path / "usual")]) == 0
    )
    policies = [distillation.read(tmp_path / name).facts["policy"] for name in ("rare", "usual")]
    assert [(policy["letters"], policy["collimate"]) for policy in policies] == [
        (0.25, 0.25),
        (VIEWS.letters, VIEWS.collimate),
    ]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*command, "--artefacts", "20", "--out", str(tmp_path / "none")])
    assert "0 to 1" in capsys.readouterr().err and not (tmp_path / "none").exists()
