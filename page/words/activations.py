"""What the Activations tab says."""

INTRO = """<p class='lead'>What does a network see? Each tile is one channel of a layer, with its answer to the same X-rays: bright is strong. Choose a
layer, compare a healthy child with an ill one, and add an X-ray of your own.</p>"""
LAYER, EVERY, COUNT = "Layer", "List every layer", "Channels shown"
FIRST, LAST, STAGES = "first layer", "last block", ("early", "middle", "late")
SHOWN = (
    "{layer} of {title}: {of} channels of {height} × {width}, the {count} strongest; in each tile"
    " {pictures}"
)
HELP = """### How to read this
Every map is stretched on its own, so compare patterns, not brightness. **Strength** is the mean of the channel's absolute values over all X-rays shown; the
strongest channel comes first. Click a tile to enlarge it.

- **Early layers** tend to answer to edges, borders and brightness: ribs, the outline of the heart, letters burnt into the film.
- **Middle layers** tend to answer to textures and small shapes: the grid of the ribs, vessels, hazy patches.
- **Late layers** have few, coarse cells that say how much of something is where. They no longer look like an X-ray; a bright cell outside the lungs is
  worth doubting.

A bright map shows what a channel answers to. It does not show that the network was right to, nor how much the channel weighs in the end."""
