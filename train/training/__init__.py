"""Carries out a recipe: network, epochs, run folder, distillation."""
