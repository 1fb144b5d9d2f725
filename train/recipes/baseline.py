"""Baseline CNN.

    python -m train fit baseline --recipe original
        150 epochs; float32 20 s an epoch on two cores (50 min), mixed_bfloat16 12 s (30 min).
        Expect a training accuracy near 1; on the test folder about 74%, recall near 1, specificity
        near a third.

    python -m train distil assets/models/xception --views 20
    python -m train fit baseline --pool runs/pool --precision mixed_bfloat16
        120 epochs of 4,470 views with Xception's answers; 10 s an epoch on two idle cores.
        Expect an AUC of about .997 on held-out patients, on average .994 under corruption.

ORIGINAL's bundle is the state at epoch 75; the epochs up to 150 show the divergence of training and
validation, and leave only curves and metrics.
"""

from train.recipes.recipe import Recipe

ORIGINAL = Recipe(
    variant="baseline",
    name="original",
    input_size=(100, 100),
    epochs=150,
    keep_epoch=75,
    optimizer="sgd",
    learning_rate=0.01,
    note=(
        "The original notebook's procedure: no augmentation, its 16-image validation folder,"
        " threshold 0.5."
    ),
)

IMPROVED = Recipe(
    variant="baseline",
    name="improved",
    input_size=(100, 100),
    epochs=120,
    keep_epoch=120,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.02,
    schedule="cosine",
    warmup=1.0,
    seed=1,
    teacher_weight=0.7,
    nuisance_reweighting=True,
    validation="held-out",
    note=(
        "The same network, taught by IMPROVED's Xception on strongly altered views; chosen on"
        " held-out patients under corruption."
    ),
)
