"""Keras and TensorFlow, imported without a word: ``from pneumonia.backend import keras`` inside the
function that needs a network, so that whatever needs none starts at once.
"""

from pneumonia.quiet import stderr_aside

with stderr_aside():
    import keras
    import tensorflow as tf

__all__ = ["keras", "tf"]
