"""Measures what the channels of the augmented network's three convolutions look like, over X-rays
of held-out patients, and writes ``assets/results/channels.json`` for the page's Activations tab.

python -m tools.channels --data chest_xray

Run again when the augmented network changes: the page shows these figures only beside the weights
they were measured on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from pneumonia import PneumoniaClassifier, channels, explain, radiograph
from pneumonia.evidence import read_predictions

CHECKOUT = Path(__file__).resolve().parents[1]
MODEL, OUT = CHECKOUT / "assets/models/augmented", CHECKOUT / "assets/results/channels.json"
# X-rays of each class at most, evenly spaced over the held-out patients; and at a time.
MOST, BATCH = 100, 20


def auc(ill: np.ndarray, healthy: np.ndarray) -> float:
    """The share of pairs in which the ill one has the higher value; equals count half."""
    pairs = ill[:, None] - healthy[None]
    return float((pairs > 0).mean() + (pairs == 0).mean() / 2)


def choose_files(folder: Path, data: Path) -> tuple[list[Path], np.ndarray]:
    """Files and labels of the held-out X-rays."""
    names, labels, _ = read_predictions(folder / "predictions_validation.csv")
    picked = np.concatenate(
        [
            np.flatnonzero(labels == label)[:: max(1, -(-int((labels == label).sum()) // MOST))]
            for label in (0, 1)
        ]
    )
    return [data / names[place] for place in picked], labels[picked]


def measure_layer(
    classifier: PneumoniaClassifier, files: list[Path], labels: np.ndarray, layer: str
) -> dict[str, Any]:
    """What one layer's channels are like over all files."""
    found = []
    for start in range(0, len(files), BATCH):
        pictures = [radiograph.read(file) for file in files[start : start + BATCH]]
        seen = np.stack([radiograph.resize(one, classifier.spec.input_size) for one in pictures])
        maps = explain.activations(classifier, pictures, layer)
        found.append(channels.likeness(maps, seen))
    picture, edges, contrast, brightness = (
        np.concatenate([getattr(part, name) for part in found])
        for name in ("picture", "edges", "contrast", "brightness")
    )
    # A channel that never answers is like nothing, and as often brighter as darker.
    alive = brightness.max(axis=0) > 0
    kinds = channels.kinds(picture.mean(axis=0), edges.mean(axis=0))[alive]
    stretched = np.median(contrast, axis=0)[alive]
    apart = np.array(
        [
            auc(brightness[labels == 1, place], brightness[labels == 0, place])
            for place in range(brightness.shape[1])
        ]
    )
    total = brightness.mean(axis=1)
    inverted = (picture < -channels.LIKE).mean(axis=1)
    haze = int(np.abs(apart - 0.5).argmax())
    return {
        "layer": layer,
        "channels": brightness.shape[1],
        "alive": int(alive.sum()),
        "kinds": {
            name: int((kinds == name).sum()) for name in ("edges", "plain", "inverted", "other")
        },
        "crisper": int((stretched > 1).sum()),
        "fuzzier": int((stretched <= 1).sum()),
        "brighter_when_ill": round(auc(total[labels == 1], total[labels == 0]), 3),
        "more_inverted_when_ill": round(auc(inverted[labels == 1], inverted[labels == 0]), 3),
        "haze": {"channel": haze, "auc": round(float(apart[haze]), 3)},
    }


def main() -> None:
    """Reads the command line, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the chest_xray folder")
    data = parser.parse_args().data
    classifier = PneumoniaClassifier.from_pretrained(MODEL)
    files, labels = choose_files(MODEL, data)
    layers = [name for name in classifier.spec.gallery_layers if name.startswith("conv")]
    written = {
        "variant": classifier.spec.variant,
        "weights_sha256": classifier.spec.weights_sha256,
        "images": {"NORMAL": int((labels == 0).sum()), "PNEUMONIA": int((labels == 1).sum())},
        "like": channels.LIKE,
        "layers": [measure_layer(classifier, files, labels, layer) for layer in layers],
    }
    OUT.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    print(f"Written: {OUT}")


if __name__ == "__main__":
    main()
