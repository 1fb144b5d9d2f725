"""Builds the input check that ships with the library."""
