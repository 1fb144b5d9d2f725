"""Baseline CNN.

    python -m train fit baseline --recipe original
        150 epochs; float32 20 s an epoch on two cores (50 min), mixed_bfloat16 12 s (30 min).
        Expect a training accuracy near 1; on the test folder about 74%, recall near 1, specificity
        near a third.

    python -m train distil runs/xception-first/bundle --views 20 --out runs/pool-first
    python -m train fit baseline --recipe first --pool runs/pool-first --precision mixed_bfloat16
        120 epochs of 4,470 views with one Xception's answers; 10 s an epoch on two idle cores.

    python -m train distil --out runs/pool
    python -m train fit baseline --pool runs/pool --start runs/baseline-first/bundle
        IMPROVED, the bundled one: 13 epochs of views with the answers of three Xceptions, in which
        framing says nothing; 4 min with mixed_bfloat16.

ORIGINAL's bundle is the state at epoch 75; the epochs up to 150 show the divergence of training and
validation, and leave only curves and metrics.
"""

from dataclasses import replace

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

FIRST = Recipe(
    variant="baseline",
    name="first",
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
        "The same network, taught by one Xception on strongly altered views; chosen on"
        " held-out patients under corruption."
    ),
)

IMPROVED = replace(
    FIRST,
    name="improved",
    epochs=13,
    keep_epoch=13,
    learning_rate=6e-4,
    starts_from="first",
    views=("plain", "level-mirror", "full", "left", "right-mirror"),
    note=(
        "Learns the mean answer of an ensemble on views in which framing says nothing; chosen on"
        " held-out patients, as they are and framing-swapped."
    ),
)
