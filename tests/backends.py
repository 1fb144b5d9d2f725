"""Trains one recipe on drawn images on TensorFlow and on other backends of Keras, and compares
the losses: ``make backends``, in a virtual environment of its own, some minutes of download.

``make backends ARGS=torch`` adds PyTorch. JAX trains a second time on two virtual devices.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
ENVIRONMENT = CHECKOUT / ".venv-backends"
# One start for all; dropout and the order of sums differ by backend.
WITHIN = 0.005
TRAIN = """
import json, sys
from dataclasses import replace
from pathlib import Path
import conftest, keras
from train.data.chest_xray import scan
from train.recipes.catalogue import get
from train.training import fit, network
root, out = Path(sys.argv[1]), Path(sys.argv[2])
build, start = network.build, root / "start.weights.h5"
def build_same(*arguments):
    model = build(*arguments)
    if not start.exists():
        model.save_weights(start)
    model.load_weights(start)
    return model
network.build = build_same
if not (root / "chest_xray").exists():
    conftest.write_dataset(root / "chest_xray", {"train": 24, "val": 4, "test": 4})
recipe = replace(
    get("baseline", "original"), input_size=(64, 64), epochs=3, keep_epoch=3, batch_size=8
)
fit.fit(recipe, scan(root / "chest_xray"), out)
print(json.dumps([row[name] for row in fit.history_of(out) for name in ("loss", "val_loss")]))
"""


def train(python: Path, root: Path, backend: str, devices: int = 1) -> list[float]:
    """Loss and validation loss of each epoch."""
    done = subprocess.run(
        [str(python), "-c", TRAIN, str(root), str(root / f"{backend}-{devices}")],
        env=os.environ
        | {
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{backend}: {done.stderr.strip().splitlines()[-1]}")
    losses: list[float] = json.loads(done.stdout.splitlines()[-1])
    return losses


def main() -> int:
    """0 if every backend loses as TensorFlow does."""
    others = ["jax", *sys.argv[1:]]
    python = ENVIRONMENT / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "-e", f"{CHECKOUT}[train]", "pytest", *others], check=True)
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        expected = train(python, root, "tensorflow")
        print(f"tensorflow: {expected}")
        for backend, devices in [*((one.split("=")[0], 1) for one in others), ("jax", 2)]:
            losses = train(python, root, backend, devices)
            pairs = zip(losses, expected, strict=True)
            difference = max(abs(one - other) for one, other in pairs)
            worst = max(worst, difference)
            print(f"{backend} on {devices}: differs by {difference:.4f} at most", flush=True)
    return int(worst > WITHIN)


if __name__ == "__main__":
    sys.exit(main())
