from __future__ import annotations

import re
import shutil

import pytest

from page import quiz
from page.quiz import FILES, Game, example
from page.served import EXAMPLES, Models
from pneumonia.architectures import CATALOGUE


def test_a_tally_counted_by_hand():
    truths = ["PNEUMONIA", "PNEUMONIA", "NORMAL", "NORMAL", "PNEUMONIA", "NORMAL"]
    said = ["PNEUMONIA", "NORMAL", "PNEUMONIA", "NORMAL", "UNCERTAIN", None]
    assert quiz.tally(said, truths) == (2, 1, 1, 1)
    assert quiz.tally([], []) == (0, 0, 0, 0)


def test_a_game_shows_every_x_ray_once_in_an_order_that_changes():
    games = [Game.start() for _ in range(20)]
    assert all(len(game.order) == 6 and set(game.order) == set(FILES) for game in games)
    # Both classes alike, and none whose answer stands on another tab.
    assert sorted(example(file).truth for file in FILES) == ["NORMAL"] * 3 + ["PNEUMONIA"] * 3
    assert not {file.name for file in FILES} & {
        file.name for files in EXAMPLES.values() for file in files
    }
    # 720 orders: twenty draws that are all the same do not happen.
    assert len({game.order for game in games}) > 1


def test_a_decision_is_kept_with_what_every_model_says(models_folder):
    models, game = (
        Models(models_folder),
        Game(FILES),
    )
    assert not game.decided
    game = quiz.play_turn(models, game, "PNEUMONIA")
    assert game.decided and game.mine == ("PNEUMONIA",) and game.truths == ["NORMAL"]
    assert list(game.theirs[0]) == list(CATALOGUE)
    assert game.theirs[0]["baseline"].prediction.probability == pytest.approx(
        models["baseline"].predict(game.order[0]).probability, abs=1e-6
    )


def test_a_model_that_cannot_be_loaded_does_not_end_the_game(models_folder, tmp_path):
    for name in ("baseline", "augmented"):
        shutil.copytree(models_folder / name, tmp_path / name)
    with (tmp_path / "baseline" / "model.weights.h5").open("ab") as file:
        file.write(b"x")
    models = Models(tmp_path)
    game = quiz.play_turn(models, Game(FILES), "NORMAL")
    assert list(game.theirs[0]) == ["augmented"]
    # The damaged model is left out, and the page says so; the game goes on with the other.
    assert list(models.names) == ["augmented"]
    assert "Augmented CNN" in quiz._reveal(models, game)


def test_nothing_says_which_class_it_is_before_the_decision(models_folder):
    models = Models(models_folder)
    for file in FILES:
        game = Game((file,))
        # Without the picture's own bytes, whose letters may spell anything.
        shown = re.sub(
            r"base64,[^']*",
            "",
            quiz._picture(game) + quiz._reveal(models, game) + quiz._score(models, game),
        )
        assert not re.search(r"normal|pneumonia|person|bacteria|virus|IM-", shown, re.IGNORECASE), (
            shown
        )
        assert example(file).truth in quiz._reveal(models, quiz.play_turn(models, game, "NORMAL"))
