"""What the Activations tab says."""

INTRO = """<p class='lead'>What does a network see? Each tile is one channel of a layer, with its answer to the same X-rays: bright is strong. Choose a
layer, compare a healthy child with an ill one, and add an X-ray of your own.</p>"""
LAYER, EVERY, COUNT, FOLLOW = (
    "Layer",
    "List every layer",
    "Channels shown",
    "Follow through the network",
)
CHOSEN = "The chosen X-ray"
STAGES = ("early", "middle", "late")
HELP = """### How to read this
Every map is stretched on its own, so compare patterns, not brightness. **Strength** is the mean of the channel's absolute values over all X-rays shown; the
strongest channel comes first. Click a tile to enlarge it.

- **Early layers** tend to answer to edges, borders and brightness: ribs, the outline of the heart, letters burnt into the film.
- **Middle layers** tend to answer to textures and small shapes: the grid of the ribs, vessels, hazy patches.
- **Late layers** have few, coarse cells that say how much of something is where. They no longer look like an X-ray; a bright cell outside the lungs is
  worth doubting.

**The source's experiment.** The work whose three networks are rebuilt here looked at its layers like this: the same channels on an X-ray of each class, side
by side. The conclusions we have from it are figures, right answers on the test folder: {claims}. So the network with augmentation came out best; and it
warned that the small one, trained on for longer, diverges. What it said of single maps we have no record of, so nothing of the kind is put into its mouth.
Whether our copies bear its figures out stands in the Figures tab.

A bright map shows what a channel answers to. It does not show that the network was right to, nor how much the channel weighs in the end."""
