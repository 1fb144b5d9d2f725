"""Xception, pre-trained on ImageNet: frozen under a small head (ORIGINAL), or trained whole on
strongly altered images (IMPROVED).

    python -m train fit xception --recipe original
        20 epochs on features computed once; 5 to 10 min on two cores.
        Expect about 79% accuracy on the test folder, recall near 1, specificity near a half.

    python -m train fit xception --precision mixed_bfloat16
        16 epochs of 4,470 images; less than 2 min an epoch on two idle cores with bfloat16.
        Expect an AUC above .99 on held-out patients, and hardly less under any corruption.

ORIGINAL's input is 224 pixels a side: the size of the published files, so nothing is resampled.
IMPROVED learns from views of 128 pixels, whose crops magnify by a fifth on average, and is asked
about whole pictures of 160, in which lungs then are as large as it knows them. Images are drawn
against nuisances (train/augmentation/nuisances.py): those whose sharpness, exposure or margins are
unusual for their class come up to eight times as often. With letters and shut margins in three of
ten views eight epochs were too few; sixteen are better than eight, most so where the ill are
stretched wider and the healthy taller.
"""

from train.recipes.recipe import STRONG, Recipe

ORIGINAL = Recipe(
    variant="xception",
    name="original",
    input_size=(224, 224),
    epochs=20,
    keep_epoch=20,
    optimizer="adam",
    learning_rate=0.001,
    frozen_body=True,
    note=(
        "The original notebook's procedure: frozen ImageNet features, its 16-image validation"
        " folder, threshold 0.5."
    ),
)

IMPROVED = Recipe(
    variant="xception",
    name="improved",
    input_size=(160, 160),
    training_size=(128, 128),
    epochs=16,
    keep_epoch=16,
    optimizer="adamw",
    learning_rate=2e-4,
    weight_decay=0.01,
    schedule="cosine",
    warmup=0.25,
    label_smoothing=0.05,
    seed=1,
    augmentation=STRONG,
    nuisance_reweighting=True,
    pretrained=True,
    frozen_normalisation=True,
    validation="held-out",
    note=(
        "Trained whole on strong random framing, exposure and processing; chosen on held-out"
        " patients under corruption."
    ),
)
