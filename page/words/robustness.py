"""The words of the tab Robustness."""

INTRO = """The same X-ray, altered in one respect at a time. An answer that hangs on the lungs should fall when they are hidden, and hold when framing or
exposure change."""
IDLE = "Choose an X-ray to see what moves the answer."
KINDS = {
    "": "Untouched",
    "lungs": "The lungs taken away",
    "not lungs": "What is not lung taken away",
    "letters": "Something added",
    "exposure": "Exposure changed",
    "framing": "Framing changed",
    "encoding": "Stored otherwise",
}
COLUMNS = ("As the model sees it", "What was done", "Probability of pneumonia", "", "Change")
CAPTION = "Probability of pneumonia under each change; the line is the threshold of {threshold}"
OCCLUSION = "Cover it patch by patch"
OCCLUSION_INTRO = """<h2 class='minor'>Which patch matters</h2><p class='credit'>A grey patch wanders over the X-ray, and the model answers
again each time: 81 answers, a few seconds for the small networks, longer for Xception.</p>"""
OCCLUSION_IDLE = "Not asked yet."
OCCLUSION_CAPTION = "X-ray and patches: drag the line"
OCCLUSION_FALL = (
    "Covered at its most important place, the {place} of the picture, the probability falls by"
    " {points} points, from {before} to {after}."
)
OCCLUSION_RISE = "Covering the {place} raises it most, by {points} points."
OCCLUSION_FLAT = (
    "No single patch moves the probability by more than {points} points: the answer hangs on more"
    " than one place."
)
SHOWN, FALLS, RISES = "Colours show", "where covering lowers it", "where covering raises it"
PATCHES = "patches covered"
