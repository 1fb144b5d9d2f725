"""Xception, pre-trained on ImageNet, by three recipes.

ORIGINAL: frozen under a small head, 20 epochs on features computed once; 5 to 10 min on two cores.
Its input is 224 pixels a side, the size of the published files, so nothing is resampled.

FIRST: trained whole on strongly altered images, 16 epochs of 4,470 in mixed_bfloat16; 30 min on two
idle cores. Views of 128 pixels, whose crops magnify by a fifth on average, stand for whole pictures
of 160. Images are drawn with nuisance reweighting (train/augmentation/nuisances.py).

IMPROVED, the bundled one, goes on from FIRST and learns the mean answer of three Xceptions on views
drawn into the lung outline of a random other child; 8 epochs, 15 min.

    python -m train fit xception --recipe first --precision mixed_bfloat16
    python -m train distil --out runs/pool
    python -m train fit xception --pool runs/pool --start runs/xception-first/bundle \\
        --precision mixed_bfloat16
"""

from dataclasses import replace

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

FIRST = Recipe(
    variant="xception",
    name="first",
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

IMPROVED = replace(
    FIRST,
    name="improved",
    epochs=8,
    keep_epoch=8,
    learning_rate=1e-4,
    warmup=0.5,
    label_smoothing=0.0,
    augmentation=None,
    teacher_weight=0.7,
    frozen_blocks=3,
    starts_from="first",
    views=("plain", "mirror", "full"),
    note=(
        "Learns the mean answer of an ensemble on views in which framing says nothing; chosen on"
        " held-out patients, as they are and framing-swapped."
    ),
)
