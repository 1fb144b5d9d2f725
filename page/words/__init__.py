"""Every text of the page that is not made of numbers; see ``panels`` for those. Here what several
tabs say; a tab's own words in the module of its name.
"""

TITLE = "Chest X-ray: normal or pneumonia?"
HEADER = f"""<header class='top'><h1>{TITLE}</h1>
<p class='disclaimer'><strong>Not a medical device.</strong> For learning and research; never decide about a patient with it.</p></header>"""
CREDIT = """<p class='credit'>Examples: Kermany, Zhang, Goldbaum, <a href='https://doi.org/10.17632/rscbjbr9sj.2'>Mendeley Data v2</a>,
<a href='https://creativecommons.org/licenses/by/4.0/'>CC BY 4.0</a>, unaltered. The label under each is the data set's.</p>"""
MODEL, CLEAR, UPLOAD = "Model", "Clear", "Your X-ray"
FORMATS = """<p class='credit'>JPEG, PNG, TIFF, WebP, BMP or DICOM, 30 MB at most. Your file is deleted once it is decoded, and nothing of it is logged; the
decoded picture stays in memory for this page, an hour at most.</p>"""
EXAMPLE, OWN, NOTHING_CHOSEN = "Example X-ray", "Your own X-ray", "No X-ray chosen yet"
EXAMPLES_HEADING = "<h2 class='minor'>Or one of six examples</h2>"
GUEST, GUEST_LABEL, GUEST_BUTTON = "A model of your own from the Hub", "Repository", "Load it"
GUEST_HELP = (
    "namespace/name of a bundle that this project made; its files are checked before anything is"
    " loaded"
)
WAITING_FOR_THE_HUB = (
    "These are the bundled weights; the Hub is asked for newer ones when this model first answers."
)
ABOUT = """### What this is
Three neural networks read a chest X-ray as NORMAL or PNEUMONIA. A missed pneumonia weighs most, so recall stands first: the
share of pneumonias that a model finds.

- **Predict**: one X-ray, one model: the answer, what its setting costs in people, and where in the picture it comes from.
- **Compare**: the three models on the same X-ray. **Robustness**: the same X-ray altered, and what that does to the answer.
- **Activations**: what any layer sees. **Read first**: a quiz; you decide before the models do.
- **Batch**: many files to one table. **Figures**: everything that was measured.

### Measured on the test X-rays
{table}

Under each figure stands its 95% interval. The models never learned from the test X-rays. A probability is the network's own unless a model says that it
is calibrated; at or above the threshold the label is PNEUMONIA.

### Limits
- **Children of one to five years, one hospital** in Guangzhou, seen from the front. On adults, other machines or other views nothing was measured.
- The two classes came with other sizes, framing and exposure. A network may read those instead of the lungs; Robustness helps to notice.
- NORMAL means: no sign of pneumonia that the model knows. It looks for no other illness.
- What does not look like a frontal chest X-ray is refused, with the reason. That input check errs too, and it cannot tell an adult from a child.

### Privacy
An upload is deleted once it is decoded, and neither it nor its name is logged. The decoded picture stays in the memory of this server for your open page, an
hour at most. The page asks no other server for anything.

### Data and licence
D. Kermany, K. Zhang, M. Goldbaum, *Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification*, Mendeley Data v2 (2018),
[doi 10.17632/rscbjbr9sj.2](https://doi.org/10.17632/rscbjbr9sj.2), [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). Paper: Kermany et al.,
*Cell* 172 (2018) 1122. Code and weights: Apache-2.0."""
