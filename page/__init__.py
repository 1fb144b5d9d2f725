"""The pieces of the page: one module a tab, the words, the models and uploads behind them, the
looks. ``app.py`` puts them together.
"""
