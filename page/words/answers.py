"""What is said with every answer: on Predict, on Compare, in the report and over the API."""

from pneumonia.model_spec import OperatingPoint

# What a person reads; UNCERTAIN is no label of the networks but what stands in its place near the
# threshold.
CALLED = {"NORMAL": "NORMAL", "PNEUMONIA": "PNEUMONIA", "UNCERTAIN": "Uncertain: get a second read"}
UNCERTAIN_WHY = (
    "So near the threshold the same X-ray, delivered another way, can fall on either side of it."
)
POINT = "Share of pneumonias to find"
POINT_HELP = (
    "A higher share misses fewer pneumonias and calls more healthy children back. Chosen on"
    " validation X-rays, never on the test set."
)
POINT_FIXED = "This model has one threshold, set beforehand; it offers no other."
NO_COST = (
    "What this setting costs was not measured: the table of test predictions did not come with"
    " these weights."
)
COST = "At this setting {counts} on the test set of {images} X-rays."
TELLS_LITTLE = (
    "So nearly every X-ray, healthy or not, is called PNEUMONIA here: at this setting that answer"
    " tells you next to nothing."
)
NOTHING_TO_SHOW = (
    "This network ends in another way than those of this project; there is no heat map of it."
)
DRAWING = "Drawing the heat map …"
HEAT_CAPTION = "X-ray and heat map of {layer}: drag the line"
HEAT_NONE = "Nothing in this X-ray speaks for {label} in this network."
STRENGTH, CURTAIN = "Strength of the colours", "Line between X-ray (left) and heat map (right)"
SPEAKS = "Colours show what speaks"
HEAT_HELP = """<details class='help'><summary>What the colours mean</summary><p>Each cell of the network's last maps adds something to its answer or takes
something away. The more colour, the more a place speaks for the class you chose; both classes share one scale, and all cells and one constant add up to the
answer's logit (HiResCAM). It shows what the network used, not where an illness is. Colour outside the lungs is a reason to doubt the answer.</p></details>"""
IDLE = "Choose an example or upload an X-ray."
LUNGS = (
    "Of all that speaks for {label}, {share} lies in the lung fields, which cover {area} of the"
    " picture."
)
LUNGS_CHANCE = "That is no more than chance would put there."
LUNGS_UNKNOWN = "Where the lungs are could not be made out."
STRONGEST = "What speaks for {label} is strongest in the {place} of the picture."
REFUSED = "This is not answered"
OVERRULE = "Answer all the same"
OVERRULE_HELP = (
    "The networks know nothing but chest X-rays of children seen from the front. On anything else"
    " their answer means nothing."
)
OVERRULED = "Answered at your request although: {reasons}"


def calibration(temperature: float) -> str:
    """What kind of probability it is."""
    return (
        "as the network gives it, uncalibrated" if temperature == 1 else "calibrated on validation"
    )


def point_name(point: OperatingPoint) -> str:
    """How an operating point is called in a list: the recall it was chosen for, or its threshold."""
    name = (
        f"fixed at {point.threshold:.3g}"
        if point.recall_target is None
        else f"{point.recall_target * 100:.3g}%"
    )
    return (
        f"{name} (default)" if point.name == "default" and point.recall_target is not None else name
    )


def held_out_recall(point: OperatingPoint) -> str:
    """What held-out patients say of a point's recall; empty where none were asked."""
    if point.recall_interval is None or point.recall_target is None:
        return ""
    low, high = point.recall_interval
    return (
        f"Chosen to find {point.recall_target:.0%} of the pneumonias of patients held out of"
        f" training (95% interval of the recall {low:.1%} to {high:.1%})."
    )
