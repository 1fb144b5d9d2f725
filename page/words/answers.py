"""What is said with every answer: on Predict, on Compare, in the report and over the API."""

from collections.abc import Sequence

from pneumonia.model_spec import OperatingPoint

# What a person reads; UNCERTAIN is no label of the networks but what stands in its place near the
# threshold.
CALLED = {"NORMAL": "NORMAL", "PNEUMONIA": "PNEUMONIA", "UNCERTAIN": "Uncertain: get a second read"}
UNCERTAIN_WHY = (
    "So near the threshold the same X-ray, delivered another way, can fall on either side of it."
)
POINT = "Sensitivity"
POINT_HELP = (
    "Catch more pneumonias, or raise fewer false alarms? The figure is the share of pneumonias that"
    " the threshold was chosen to find."
)
POINT_FIXED = "This model has one threshold, set beforehand."
MORE, FEWER, USUAL = "Catch more", "Fewer false alarms", "Usual"
SIDE = {True: "above this setting's {threshold}", False: "below this setting's {threshold}"}
NO_COST = (
    "How often this setting is wrong was not measured: no table of test predictions came with these"
    " weights."
)
# In people, of a hundred each.
COST = (
    "Of 100 children with pneumonia this setting misses {missed}; of 100 healthy it raises a false"
    " alarm for {alarms}."
)
TELLS_LITTLE = (
    "So nearly every X-ray, healthy or not, is called PNEUMONIA here: at this setting that answer"
    " tells you next to nothing."
)
EXAMPLE = "Example, not your X-ray"
MEANS = {
    "NORMAL": "No sign of pneumonia. Other illnesses are not looked for; a doctor decides.",
    "PNEUMONIA": "See under <a href='#tabs' data-open='robustness'>Robustness</a> whether it hangs"
    " on the lungs; a doctor decides.",
}
TRUTH = {
    "agrees": "The data set calls this example {truth}: the model agrees.",
    "disagrees": "The data set calls this example {truth}: the model is wrong.",
    "open": "The data set calls this example {truth}.",
}
NOTHING_TO_SHOW = (
    "This network ends in another way than those of this project; there is no heat map of it."
)
READING, DRAWING = "Reading the X-ray …", "Drawing the heat map …"
HEAT_CAPTION = "Drag the line: X-ray left, heat map right."
HEAT_NONE = "No place in this X-ray speaks for {label}."
STRENGTH, CURTAIN = "Strength of the colours", "Line between X-ray (left) and heat map (right)"
SPEAKS = "Colours show what speaks"
HEAT_HELP = """<p class='credit'>Each cell of the network's last maps, here {layer}, adds something
to its answer or takes something away. The more colour, the more a place speaks for the class; both
classes share one scale, and all cells and one constant add up to the answer's logit (HiResCAM).
Colours show what the network used, not where an illness is. Colour outside the lungs is a reason to
doubt the answer.</p>"""
LUNGS_MOST = "{share} of the colour lies in the lungs, which cover {area} of the picture."
LUNGS_PART = (
    "{share} of the colour lies in the lungs, which cover {area} of the picture; the rest lies"
    " outside them."
)
LUNGS_LITTLE = (
    "Only {share} of the colour lies in the lungs, which cover {area} of the picture: a reason to"
    " doubt the answer."
)
LUNGS_UNKNOWN = "Where the lungs are could not be made out."
STRONGEST = "What speaks for {label} is strongest in the {place} of the picture."
REFUSED = "This is not answered"
FORCE = "Answer all the same"
FORCE_HELP = (
    "The networks know nothing but chest X-rays of children seen from the front. On anything else"
    " their answer means nothing."
)
FORCED = "Do not believe this answer"
FORCED_WHY = "It was given at your request only. {reasons} How often it is wrong nobody knows."
DETAILS = "Details: counts, intervals, weights"
FACTS = {
    "missed": "Pneumonias missed at this setting",
    "alarms": "False alarms at this setting",
    "accuracy": "Right answers at this setting",
    "precision": "Of its answers PNEUMONIA, right",
    "threshold": "Threshold",
    "kind": "The probability",
    "file": "X-ray",
    "model": "Model",
    "weights": "Weights",
    "trained": "Trained by",
}
NOT_MEASURED = "not measured"


def calibration(temperature: float) -> str:
    """What kind of probability it is."""
    return (
        "as the network gives it, uncalibrated" if temperature == 1 else "calibrated on validation"
    )


def point_name(point: OperatingPoint) -> str:
    """How an operating point is called: the recall it was chosen for, or its threshold."""
    if point.recall_target is None:
        return f"fixed at {point.threshold * 100:.1f}%"
    return f"{point.recall_target * 100:.3g}%"


def held_out_recall(point: OperatingPoint) -> str:
    """What held-out patients say of a point's recall; empty where none were asked."""
    if point.recall_interval is None or point.recall_target is None:
        return ""
    low, high = point.recall_interval
    return (
        f"Chosen to find {point.recall_target:.0%} of the pneumonias of patients held out of"
        f" training (95% interval of the recall {low:.1%} to {high:.1%})."
    )


def point_names(points: Sequence[OperatingPoint]) -> list[str]:
    """How a model's operating points are offered, from the most sensitive to the least."""
    names = []
    for place, point in enumerate(points):
        name = point_name(point)
        if len(points) > 1 and 0 < place < len(points) - 1 and point.name == "default":
            name = f"{USUAL} ({name})"
        elif len(points) > 1 and place == 0:
            name = f"{MORE} ({name})"
        elif len(points) > 1 and place == len(points) - 1:
            name = f"{FEWER} ({name})"
        names.append(name)
    return names


def of_hundred(count: int, total: int) -> str:
    """A share in whole people of a hundred: ``about 34``; never none or all, for a count of none
    proves neither.
    """
    share = round(100 * count / total)
    if share < 1:
        return "fewer than 1"
    return "nearly all" if share > 99 else f"about {share}"
