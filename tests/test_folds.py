"""The held-out fold: whole patients, both classes, and every image on exactly one side."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from train.data.chest_xray import DataError, scan
from train.data.folds import FITTED, HELD_OUT, groups_of, items_of, number_groups


def test_the_two_sides_are_the_train_folder(tiny_scan):
    fitted, held_out = items_of(tiny_scan, FITTED), items_of(tiny_scan, HELD_OUT)
    assert sorted([*fitted, *held_out], key=lambda item: item.relative) == sorted(
        tiny_scan.split("train"), key=lambda item: item.relative
    )
    assert not set(fitted) & set(held_out)
    assert {item.label for item in held_out} == {0, 1}
    assert items_of(tiny_scan, "test") == tiny_scan.split("test")


def test_the_fold_is_the_same_each_time(tiny_dataset):
    assert items_of(scan(tiny_dataset), HELD_OUT) == items_of(scan(tiny_dataset), HELD_OUT)


def test_copies_of_a_file_and_images_of_a_patient_stay_together(own_dataset):
    files = sorted((own_dataset / "train" / "NORMAL").iterdir())
    # Two names of one content, of which the second shares its patient with a third: all three
    # belong together.
    shutil.copy(files[0], own_dataset / "train" / "NORMAL" / "IM-9001-0001.jpeg")
    shutil.copy(files[1], own_dataset / "train" / "NORMAL" / "IM-9001-0002.jpeg")
    dataset = scan(own_dataset)
    items, groups = dataset.split("train"), groups_of(dataset, "train")
    chain = {files[0].name, files[1].name, "IM-9001-0001.jpeg", "IM-9001-0002.jpeg"}
    assert (
        len({group for item, group in zip(items, groups, strict=True) if item.path.name in chain})
        == 1
    )
    held_out = {item.path.name for item in items_of(dataset, HELD_OUT)}
    assert chain <= held_out or not chain & held_out


def test_a_folder_of_too_few_patients_is_refused(own_dataset):
    for path in sorted((own_dataset / "train" / "NORMAL").iterdir())[3:]:
        path.unlink()
    with pytest.raises(DataError, match="cannot be parted into 7 folds"):
        items_of(scan(own_dataset), HELD_OUT)


def test_images_are_joined_through_however_many_links():
    # The second and third share a file, the third and fourth a patient; numbers follow the order.
    assert number_groups([("x", 3), ("p", 1), ("q", 1), ("q", 2)]).tolist() == [0, 1, 1, 1]
    assert number_groups([("p",), ("q",), ("p",)]).tolist() == [0, 1, 0]
    assert number_groups([(), ()]).tolist() == [0, 1]
    assert number_groups([]).tolist() == []


def test_on_the_real_data_no_patient_stands_on_both_sides(cxr_root):
    dataset = scan(cxr_root)
    fitted, held_out = items_of(dataset, FITTED), items_of(dataset, HELD_OUT)
    assert (len(fitted), len(held_out)) == (4470, 746)
    assert not {item.patient for item in fitted} & {item.patient for item in held_out}
    digest = dict(zip(dataset.items, dataset.digests, strict=True))
    assert not {digest[item] for item in fitted} & {digest[item] for item in held_out}
    # Strata hold: bacteria, virus and normal are each parted one to six, within a percent.
    for cause in ("bacteria", "virus", None):
        share = np.mean([item.cause == cause for item in held_out]) - np.mean(
            [item.cause == cause for item in fitted]
        )
        assert abs(share) < 0.01
