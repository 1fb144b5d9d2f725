"""How often each training image is drawn, so that what is not in the chest says nothing of the
class.

In the train folder the healthy and the ill were not taken and processed alike: exposure, sharpness
and the margins of a picture tell them apart before a lung is looked at. A network that learns this
is right on patients of the same machines and wrong elsewhere. Drawing each image with a weight of
one over the probability of its class given those nuisances makes the two independent in what is
learned from (Puli et al., "Out-of-distribution Generalization in the Presence of Nuisance-Induced
Spurious Correlations", ICLR 2022, where the nuisance is the margin of chest X-rays).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from pneumonia.model_spec import LABELS
from train.augmentation import framing
from train.augmentation.policy import BANDS

NUISANCES = (
    "fine detail",
    "middle detail",
    "mean grey",
    "spread of grey",
    "black",
    "top margin",
    "bottom margin",
    "left margin",
    "right margin",
)
# No image counts more than so many times the average of its class: a weight is an estimate, and a
# few images drawn over and over would be learned by heart.
HIGHEST = 8.0
_MARGIN = 0.06
FOLDS = 5


def nuisances(images: np.ndarray) -> np.ndarray:
    """What a machine and a hand make of a picture.

    Args:
        images: uint8 ``(N, H, W)``.

    Returns:
        float64 ``(N, 9)``, in the order of :data:`NUISANCES`: logarithms of the standard deviations
        of fine and middle detail in grey values, mean and standard deviation of grey (0 to 255),
        the share of pixels darker than 8, and the mean grey of the outer 6% on each side.
    """
    height, width = images.shape[1:]
    side, high, wide = (
        min(height, width),
        max(1, round(_MARGIN * height)),
        max(1, round(_MARGIN * width)),
    )
    rows = []
    for image in images:
        picture, grey = Image.fromarray(image), image.astype(np.float64)
        smooth, smoothest = (
            np.asarray(picture.filter(ImageFilter.GaussianBlur(share * side)), np.float64)
            for share in BANDS
        )
        detail = [np.log(1 + np.std(band)) for band in (grey - smooth, smooth - smoothest)]
        margins = [
            grey[:high].mean(),
            grey[-high:].mean(),
            grey[:, :wide].mean(),
            grey[:, -wide:].mean(),
        ]
        rows.append([*detail, grey.mean(), grey.std(), np.mean(image < 8), *margins])
    return np.array(rows)


def weights(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """A weight for each image; the classes keep their shares.

    Args:
        images: uint8 ``(N, H, W)``.
        labels: ``(N,)``, 1 is PNEUMONIA, at least five of each class.

    Returns:
        float64 ``(N,)``, on average 1 in each class, and the AUC with which the nuisances alone
        tell the classes apart on images they were not fitted to: what a network could have learned
        of them.

    Raises:
        ValueError: see :func:`cross_predict`.
    """
    ill = cross_predict(nuisances(images), labels)
    found = 1 / np.clip(np.where(labels == 1, ill, 1 - ill), 1e-6, 1)
    for label in (0, 1):
        side = labels == label
        found[side] = _cap_weights(found[side])
    return found, float(roc_auc_score(labels, ill))


def cross_predict(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probability of PNEUMONIA, float64 ``(N,)``, that nuisances ``(N, K)`` give by a quadratic
    logistic regression, out of fold in five folds.

    Raises:
        ValueError: a class has fewer than five images.
    """
    rarest = int(np.bincount(labels, minlength=2).min())
    if rarest < FOLDS:
        raise ValueError(
            f"What nuisances tell is fitted on {FOLDS} folds and needs as many images of each"
            f" class, got {rarest}."
        )
    model = make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=2000),
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return cross_val_predict(model, features, labels, cv=folds, method="predict_proba")[:, 1]


def audit_images(images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How far each nuisance, the lungs' framing (:mod:`train.augmentation.framing`), and all
    together, tell the classes apart.

    Args:
        images: uint8 ``(N, H, W)``.
        labels: ``(N,)``, 1 is PNEUMONIA.

    Returns:
        Under each name of :data:`NUISANCES` and of :data:`train.augmentation.framing.FRAMING` the
        ``auc`` for PNEUMONIA (below one half: the healthy have more of it) and the median of each
        class, and ``together``, the AUC on images that were not fitted to; empty where a class has
        fewer than five images.
    """
    if np.bincount(labels, minlength=2).min() < FOLDS:
        return {}
    features = np.hstack([nuisances(images), framing.lung_frames(images)])
    single = {
        name: {
            "auc": round(float(roc_auc_score(labels, values)), 3),
            "medians": {
                label: round(float(np.median(values[labels == number])), 3)
                for number, label in enumerate(LABELS)
            },
        }
        for name, values in zip((*NUISANCES, *framing.FRAMING), features.T, strict=True)
    }
    return {
        "single": single,
        "together": round(float(roc_auc_score(labels, cross_predict(features, labels))), 3),
    }


def _cap_weights(found: np.ndarray) -> np.ndarray:
    """The multiple of the weights that, cut off at :data:`HIGHEST`, has a mean of 1."""
    low, high = 0.0, HIGHEST / float(found.min())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if np.minimum(middle * found, HIGHEST).mean() < 1 else (low, middle)
        )
    return np.minimum(high * found, HIGHEST)


def draw_positions(found: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions of an epoch, int64 ``(N,)`` in random order: each image as often as its weight
    says, rounded up or down at random (systematic sampling).
    """
    reach = np.cumsum(found) * (len(found) / found.sum())
    ticks = np.minimum(np.arange(len(found)) + rng.random(), reach[-1] * (1 - 1e-12))
    return rng.permutation(np.searchsorted(reach, ticks, side="right"))
