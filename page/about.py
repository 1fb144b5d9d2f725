"""The About tab: what this is, what was measured, what it cannot do, whose the data are."""

import gradio as gr

from page import results, words
from page.shared import View


def build(view: View) -> None:
    """Text with the table of test figures in it."""
    models = view.models

    def text() -> str:
        return words.ABOUT.format(table=results.table(models))

    # The text is the project's own; cleaning it would take the labels of the table's cells away.
    # Written again when it is looked at: by then the Hub's weights may answer.
    view.tab.select(text, None, gr.Markdown(text(), sanitize_html=False), api_visibility="private")
