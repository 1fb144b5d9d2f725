"""Measures networks: metrics, validation, calibration, robustness, plots."""
