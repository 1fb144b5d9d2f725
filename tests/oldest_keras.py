"""Loads the bundled models with the oldest Keras that holds their layers, in a virtual environment
of its own, and compares the answers to the examples: ``make oldest``, some minutes of download.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from pneumonia import PneumoniaClassifier, locations, radiograph
from train.reports.card import OLDEST_KERAS

CHECKOUT = Path(__file__).resolve().parents[1]
ENVIRONMENT = CHECKOUT / ".venv-oldest"
PACKAGES = (f"keras=={OLDEST_KERAS}", "tensorflow-cpu==2.18.*")
# As ``keras.saving.load_model("hf://...")`` does once the files are there.
LOAD = """
import sys
import numpy as np
from pathlib import Path
from keras.src.saving.saving_lib import _load_model_from_dir as load
known = np.load(sys.argv[1])
model = load(Path(sys.argv[2]), custom_objects=None, compile=False, safe_mode=True)
print(float(np.abs(model(known["inputs"]).numpy() - known["answers"]).max()))
"""


def main() -> int:
    """0 if every bundle answers there as it does here."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    pictures = [radiograph.read(file) for file in sorted(CHECKOUT.glob("assets/examples/*.jpeg"))]
    worst = 0.0
    for variant, folder in locations.bundles().items():
        classifier = PneumoniaClassifier.from_pretrained(folder)
        inputs = classifier.inputs(pictures)
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            np.savez(file, inputs=inputs, answers=classifier.model(inputs).numpy())
            file.flush()
            done = subprocess.run(
                [str(python), "-c", LOAD, file.name, str(folder)],
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            print(f"{variant}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return 1
        difference = float(done.stdout.split()[-1])
        worst = max(worst, difference)
        print(f"{variant}: {PACKAGES[0]} differs by {difference:.1e} at most")
    return int(worst > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
