"""Finds, checks, caches, audits and folds the data set."""
