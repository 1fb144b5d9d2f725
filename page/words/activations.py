"""What the Activations tab says."""

INTRO = """<p class='lead'>What do the layers of a network see? The original notebook looked at
three layers of its second network, on one healthy X-ray and one with pneumonia. Here are the same
three layers of ours, on the X-ray you chose beside examples; each statement with the
channels that show it best. Every tile is one channel; bright is strong.</p>"""
LAYERS = ("First layer: edges", "Second layer: fuzzier, crisper", "Third layer: three kinds of map")
# What the original notebook said of each, in our words.
SAID = (
    "Mostly edges: the silhouettes of body and rib cage stand out, in both X-rays alike.",
    "The maps get fuzzier. Some channels turn the contrast up (crisper), some down (fuzzier), and"
    " background shows through where it was covered.",
    "One kind looks like the plain X-ray; one has its greys inverted, which brings out the haze of"
    " a pneumonia; one shows the haze as something translucent, apart from the body.",
)
NOTEBOOK, OURS = "The original notebook", "Ours, measured"
KINDS = (
    "Over {images} X-rays of held-out patients, {edges} of the {alive} channels that answer are"
    " most like the X-ray's edges, {plain} like the X-ray itself, {inverted} like its negative, and"
    " {other} like none of them."
)
DETAIL = (
    "Stretched alike, {crisper} of the {alive} channels that answer have more contrast than the"
    " X-ray, {fuzzier} less."
)
BRIGHTER = (
    "Are the maps brighter with pneumonia? In {share} of all pairs of an ill and a healthy X-ray"
    " the ill one's are (50% is chance)."
)
INVERTED = "Are more of them inverted? In {share} of all pairs."
UNMEASURED = (
    "Not measured over many X-rays with these weights; the channels below are picked on the two you"
    " see."
)
EDGES, PLAIN, NEGATIVE = "like the edges", "like the X-ray", "like its negative"
CRISPER, FUZZIER, HAZE = "most contrast", "least contrast", "differs most with pneumonia"
CORRELATION, SHARPER = "correlation {value:.2f}", "{value:.1f} × the X-ray's contrast"
APART = "AUC {value:.2f}"
IMPRESSIONS = """<p class='credit'>The notebook's statements are its author's impressions of two
X-rays. Ours are correlations of each map with the X-ray, with its negative and with its edges, all
at the map's size. The counts call a channel like what its maps go with most, at .3 or more; the
channels shown are the nearest, whether or not they reach it. Contrast is a
map's spread once it is stretched from black to white.</p>"""
EXPLORE = "Look for yourself"
LAYER, EVERY, COUNT = "Layer", "List every layer", "Channels shown"
FIRST, LAST, STAGES = "first layer", "last block", ("early", "middle", "late")
SHOWN = (
    "{layer} of {title}: {of} channels of {height} × {width}, the {count} strongest; in each tile"
    " {pictures}"
)
THROUGH = "Through the depth: {name} in {title}, of each layer the strongest channel"
DEPTH = "Depth, from the X-ray to the last block"
HELP = """<p class='credit'>Every map is stretched on its own, so compare patterns, not brightness.
<strong>Strength</strong> is the mean of the channel's absolute values over all X-rays shown; the
strongest channel comes first. Early layers tend to answer to edges, borders and brightness, middle
ones to textures and small shapes; late ones have few, coarse cells that say how much of something
is where. A bright map shows what a channel answers to. It does not show that the network was right
to, nor how much the channel weighs in the end.</p>"""
