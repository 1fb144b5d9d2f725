"""The words of the tab Robustness."""

INTRO = """<p class='credit'>The same X-ray, altered in one respect at a time. A PNEUMONIA that
comes from the lungs should fall when they are hidden; any answer should hold when framing or
exposure change.</p>"""
IDLE = "Choose an X-ray that is answered first."
SPOKEN = {"NORMAL": "NORMAL", "PNEUMONIA": "PNEUMONIA", "UNCERTAIN": "uncertain"}
HIDDEN = "{before} → {after} with both lungs hidden."
STAYS, TURNS = "The answer stays {now}", "The answer turns from {before} to {now}"
_NOT_LUNG = ": something that is not lung, or the lungs' absence, is read as pneumonia."
# What it means that the answer is the first with the lungs in sight and the second without.
MEANING = {
    ("PNEUMONIA", "PNEUMONIA"): ": it hangs on something that is not lung. Do not rely on it.",
    ("PNEUMONIA", "UNCERTAIN"): ": it hangs on the lungs in part only.",
    ("PNEUMONIA", "NORMAL"): ", as it should where it hangs on the lungs.",
    ("UNCERTAIN", "PNEUMONIA"): _NOT_LUNG,
    ("UNCERTAIN", "UNCERTAIN"): "; that tells little.",
    ("UNCERTAIN", "NORMAL"): ": what spoke for pneumonia lay in the lungs.",
    ("NORMAL", "PNEUMONIA"): _NOT_LUNG,
    ("NORMAL", "UNCERTAIN"): _NOT_LUNG,
    ("NORMAL", "NORMAL"): "; that alone does not tell whether the lungs were read.",
}
TURNING = (
    "With the lungs in sight {count} of {of} other changes give another answer, too; most of all:"
    " {largest}."
)
STEADY = "It stays {before} under the other {count} changes."
UNCOUNTED = "not counted: no network here was made for it"
MASKS = """Where the lungs are is fitted to each X-ray, and what is hidden is grey: in the middle
the lungs and a little more, on the right all but what is surely lung."""
MODEL = (
    " Of this model: with the lungs hidden it calls {ill} of the ill and {healthy} of the healthy"
    " test children PNEUMONIA; with nothing but the lungs in sight {ill_only} and {healthy_only}."
)
KINDS = {
    "": "Untouched",
    "lungs": "The lungs taken away",
    "not lungs": "What is not lung taken away",
    "letters": "Something added",
    "exposure": "Exposure changed",
    "framing": "Framing changed",
    "encoding": "Stored otherwise",
}
COLUMNS = ("Picture", "What was done", "On one scale", "Probability", "Change", "Answer")
CAPTION = "Each change on its own; the line is this setting's threshold of {threshold}"
OCCLUSION = "Cover it patch by patch"
OCCLUSION_INTRO = """<h2 class='minor'>Which patch matters</h2><p class='credit'>A grey patch
wanders over the X-ray, and the model answers again each time: 81 answers, a few seconds.</p>"""
OCCLUSION_CAPTION = "Drag the line: X-ray left, patches right."
OCCLUSION_FALL = "{before} → {after} with the {place} covered: nothing lowers it more."
OCCLUSION_RISE = "{before} → {after} with the {place} covered: nothing raises it more."
OCCLUSION_FLAT = (
    "No single patch moves the probability by more than {points} points: the answer hangs on more"
    " than one place."
)
SHOWN, FALLS, RISES = "Colours show", "where covering lowers it", "where covering raises it"
PATCHES = "patches covered"
