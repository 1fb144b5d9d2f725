"""Xception, pre-trained on ImageNet and frozen, under a small head.

    python -m train xception                        20 epochs on features computed once; 5 to 10 min on two cores
    expect                                          on the test folder about 79% accuracy, recall near 1, specificity near a half

The input is 224 pixels a side: the size of the published files, so nothing is resampled.
"""

from train.recipes import Recipe

SEED = Recipe(
    variant="xception",
    name="seed",
    input_size=(224, 224),
    epochs=20,
    keep_epoch=20,
    optimizer="adam",
    learning_rate=0.001,
    frozen_body=True,
    note="The source's procedure: frozen ImageNet features, its 16-image validation folder, threshold 0.5.",
)
