"""One-off builders of committed artefacts."""
