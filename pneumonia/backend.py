"""Keras, imported without a word: ``from pneumonia.backend import keras`` inside the function that
needs a network, so that whatever needs none starts at once.
"""

from pneumonia.quiet import stderr_aside

with stderr_aside():
    import keras

__all__ = ["keras"]
