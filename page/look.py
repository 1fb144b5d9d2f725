"""The theme; the page's own pieces are styled in ``assets/app.css``."""

from __future__ import annotations

import gradio as gr


def theme() -> gr.themes.Base:
    """Slate and teal, like a film on a light box; fonts of the visitor's own system, so that the
    page asks nobody for one.
    """
    fonts = [
        gr.themes.Font(name)
        for name in ("Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
    ]
    mono = [gr.themes.Font(name) for name in ("Consolas", "Menlo", "monospace")]
    return gr.themes.Base(
        primary_hue="teal", neutral_hue="slate", radius_size="lg", font=fonts, font_mono=mono
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="#0b1220",
        background_fill_primary_dark="#111a2b",
        block_background_fill_dark="#111a2b",
        border_color_primary_dark="#2b3a52",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_800",
        block_label_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="#1b2740",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        button_border_width="1px",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_border_width="0px",
        checkbox_label_border_width_dark="0px",
    )
