"""Every text of the page that is not made of numbers; see ``panels`` for those. Here what several
tabs say; a tab's own words in the module of its name.
"""

TITLE = "Chest X-ray: normal or pneumonia?"
HEADER = f"""<header class='top'><a class='skip' href='#tabs'>Skip to the answer</a>
<h1>{TITLE}</h1>
<p class='disclaimer'><strong>Not a medical device.</strong> For learning and research; never decide
about a patient with it. <span class='phone'>Your X-ray goes to this server's memory and nowhere
else.</span></p></header>"""
_NEW_TAB = "target='_blank' rel='noopener'"
CREDIT = f"""<p class='credit'>Examples: Kermany, Zhang, Goldbaum,
<a href='https://doi.org/10.17632/rscbjbr9sj.2' {_NEW_TAB}>Mendeley Data v2</a>,
<a href='https://creativecommons.org/licenses/by/4.0/' {_NEW_TAB}>CC BY 4.0</a>, unaltered. The
label under each is the data set's.</p>"""
DAMAGED = "Left out, because its files on this server are damaged: {names}."
MODEL, OWN, FORGET = "Model", "Choose, drop or paste an X\u2011ray", "Remove"
FORMATS = """<p class='credit'>JPEG, PNG, TIFF, WebP, BMP or DICOM, 30 MB at most. It goes to this
server's memory and nowhere else, and is gone within an hour.</p>"""
GONE = "This X-ray is no longer in memory. Choose an example, or your own once more."
GUEST, GUEST_LABEL, GUEST_BUTTON = "A model of your own from the Hub", "Repository", "Load it"
GUEST_HELP = (
    "namespace/name of a bundle that this project made; its files are checked before anything is"
    " loaded"
)
UNKNOWN_EXAMPLE = "There is no example {name}; this is the first one."
UNKNOWN_MODEL = "There is no model {name} here; the usual one answers."
UNKNOWN_SETTING = "{title} has no setting {name}; this is its usual one."
UNKNOWN_TAB = "There is no tab {name}; this is the first one."
WAITING_FOR_THE_HUB = (
    "These are the bundled weights; the Hub is asked for newer ones when this model first answers."
)
ABOUT = """## Where your X-ray goes
To this server's memory and nowhere else. The file is deleted once it is decoded; neither it nor
its name is logged. The decoded picture stays in memory for your open page, an hour at most. The
page asks no other server for anything.

## What this is
Three neural networks read a chest X-ray as NORMAL or PNEUMONIA. They rebuild a public notebook
project, *Diagnosing-Pneumonia*, on the X-rays of one children's hospital. A missed pneumonia weighs
most, so recall stands first: the share of pneumonias that a model finds.

- **Predict**: one X-ray, one model: the answer, how often it is wrong, where it looked.
- **Compare**: the three models on the same X-ray.
- **Robustness**: the same X-ray altered, and what that does to the answer.
- **Activations**: what the layers see.
- **Quiz**: you decide before the models do.
- **Batch**: many files to one table.
- **Results**: everything that was measured.

## How often they are wrong
{table}

On 624 test X-rays that no model learned from, each model at its usual sensitivity; below each
figure its 95% interval.

## When not to believe it
- **Children of one to five years, one hospital** in Guangzhou, seen from the front. On adults,
  other machines or other views nothing was measured.
- The two classes came with other sizes, framing and exposure. A network may read those instead of
  the lungs; the tab Robustness helps to notice.
- NORMAL means: no sign of pneumonia that the model knows. It looks for no other illness.
- What does not look like a frontal chest X-ray is refused, with the reason. That check errs too,
and it cannot tell an adult from a child.

## Data and licence
D. Kermany, K. Zhang, M. Goldbaum, *Labeled Optical Coherence Tomography (OCT) and Chest X-Ray
Images for Classification*, Mendeley Data v2 (2018),
[doi 10.17632/rscbjbr9sj.2](https://doi.org/10.17632/rscbjbr9sj.2),
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). Paper: Kermany et al., *Cell* 172 (2018)
1122. Code and weights: Apache-2.0."""
