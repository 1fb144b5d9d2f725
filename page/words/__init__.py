"""Every text of the page that is not made of numbers; see ``panels`` for those. Here what several tabs say; a tab's own words in the module of its name."""

TITLE = "Chest X-ray: normal or pneumonia?"
HEADER = f"""<header class='top'><h1>{TITLE}</h1>
<p class='disclaimer'><strong>Not a medical device.</strong> For learning and research; never decide about a patient with it.</p></header>"""
CREDIT = """<p class='credit'>Examples: Kermany, Zhang, Goldbaum, <a href='https://doi.org/10.17632/rscbjbr9sj.2'>Mendeley Data v2</a>,
<a href='https://creativecommons.org/licenses/by/4.0/'>CC BY 4.0</a>, unaltered. The label under each is the data set's.</p>"""
MODEL, CLEAR, UPLOAD = "Model", "Clear", "Your X-ray"
FORMATS = "<p class='credit'>JPEG, PNG, TIFF, WebP or BMP. Your file is deleted once decoded and never logged; what was drawn from it goes within the hour.</p>"
EXAMPLE, OWN, NOTHING_CHOSEN = "Example X-ray", "Your own X-ray", "No X-ray chosen yet"
EXAMPLES_HEADING = "<h2 class='minor'>Or one of six examples</h2>"
GUEST, GUEST_LABEL, GUEST_BUTTON = "A model of your own from the Hub", "Repository", "Load it"
GUEST_HELP = "namespace/name of a bundle that this project made; its files are checked before anything is loaded"
WAITING_FOR_THE_HUB = "These are the bundled weights; the Hub is asked for newer ones when this model first answers."
LAYER, COUNT = "Layer", "Channels shown"
MAPS = "Maps: NORMAL left, PNEUMONIA right"
MAPS_HELP = """Each tile is one channel of the layer: its answer to the NORMAL X-ray on the left, to the PNEUMONIA X-ray on the right. Bright is a strong
answer. Every map is stretched on its own, so compare patterns, not brightness. **Strength** is the mean of the channel's absolute values over both X-rays; the
strongest comes first. Click a tile to enlarge it.

- **Early layers** answer to edges, borders and brightness: ribs, the outline of the heart, letters burnt into the film.
- **Middle layers** answer to textures and small shapes: the grid of the ribs, vessels, hazy patches.
- **Late layers** have few, coarse cells that say how much of something is where. They no longer look like an X-ray; a bright cell outside the lungs is
  worth doubting."""
ABOUT = """### What this is
Three neural networks read a chest X-ray as NORMAL or PNEUMONIA. A missed pneumonia weighs most, so recall stands first: the
share of pneumonias that a model finds.

### Measured on the test X-rays
{table}

Under each figure stands its 95% interval. The models never learned from the test X-rays. A probability is the network's own unless a model says that it
is calibrated; at or above the threshold the label is PNEUMONIA.

### Limits
- **Children of one to five years, one hospital** in Guangzhou, seen from the front. On adults, other machines or other views nothing was measured.
- The two classes came with other sizes, framing and exposure. A network may read those instead of the lungs; the Activations tab helps to notice.
- NORMAL means: no sign of pneumonia that the model knows. It looks for no other illness, and it answers on a picture that is no X-ray too.

### Data and licence
D. Kermany, K. Zhang, M. Goldbaum, *Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification*, Mendeley Data v2 (2018),
[doi 10.17632/rscbjbr9sj.2](https://doi.org/10.17632/rscbjbr9sj.2), [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). Paper: Kermany et al.,
*Cell* 172 (2018) 1122. Code and weights: Apache-2.0."""
