"""Baseline CNN.

    python -m train baseline                        150 epochs; float32 20 s an epoch on two cores (50 min), mixed_bfloat16 12 s (30 min)
    expect                                          training accuracy near 1; on the test folder about 74%, recall near 1, specificity near a third

The bundle is the state at epoch 75; the epochs up to 150 show the divergence of training and validation, and leave only curves and metrics.
"""

from train.recipes import Recipe

SEED = Recipe(
    variant="baseline",
    name="seed",
    input_size=(100, 100),
    epochs=150,
    keep_epoch=75,
    optimizer="sgd",
    learning_rate=0.01,
    note="The source's procedure: no augmentation, its 16-image validation folder, threshold 0.5.",
)
