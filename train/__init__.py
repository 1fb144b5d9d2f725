"""Training, evaluation and publication: ``python -m train --help``."""
