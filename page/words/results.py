"""What the Results tab says."""

INTRO = """<p class='lead'>What the models are worth, on 624 X-rays they never learned from: 390
with pneumonia, 234 healthy. Each figure has its 95% interval.</p>"""
TABLE = "Our three models, at the chosen sensitivity"
TABLE_HEAD = ("Model", "Missed", "False alarms", "Accuracy", "AUC", "Original notebook's accuracy")
TABLE_NOTE = """<p class='credit'>Thresholds were chosen on patients held out of training, never on
these X-rays. The original notebook reports one accuracy a model, without interval, recall or
threshold. Intervals: Wilson; for AUC bootstrap.</p>"""
ORIGINAL = "The original notebook's own recipes, trained again"
ORIGINAL_HEAD = ("Run", "Missed", "False alarms", "Accuracy", "AUC", "Original notebook's accuracy")
ORIGINAL_NOTE = """<p class='credit'>Its procedure repeated: its layers, epochs and augmentation,
its folder of 16 X-rays to watch, the threshold 50%.</p>"""
RUN = "{title}, {epochs} epochs"
PUBLISHED = "What others published on the same X-rays"
PUBLISHED_HEAD = ("Work", "Accuracy", "Recall", "Specificity", "AUC", "Remark")
PUBLISHED_NOTE = """<p class='credit'>As their authors report them; none was measured again here,
and how their thresholds were chosen is seldom said.</p>"""
ROC = "Every threshold of {title}: what it finds and what it costs"
ROC_HELP = "Move over the curve, or along the slider: each place on it is a threshold."
ROC_X, ROC_Y = "false alarms among the healthy", "pneumonias found"
ROC_ALT = "ROC curves on the test set; {title} has an area of {auc} under its curve"
THRESHOLD = "Threshold, from strict to cautious"
# Words in brackets are filled in by the page as the slider moves.
READOUT = (
    "At the threshold [t]: [missed] of [ill] pneumonias missed (recall [recall]), [back] of"
    " [healthy] healthy with a false alarm (specificity [specificity])"
)
IN_USE = "in use"
NO_TABLE = "No table of test predictions came with these weights, so there is no curve to draw."
OTHER_WEIGHTS = (
    "Other weights than the bundled ones answer now; the pictures below belong to the bundled ones."
)
PICTURES = "Plots of {title}"
CAPTIONS = {
    "training_curves": "Loss and accuracy, epoch by epoch",
    "roc": "Pneumonias found against false alarms",
    "precision_recall": "Precision against recall",
    "confusion": "What it is, and what the model says",
    "calibration": "How often a probability comes true",
    "robustness": "Lungs or borders hidden, other framing, exposure and encoding",
    "seeds": "The same recipe with other random seeds",
}
ALTERED = "{title} on altered test X-rays"
ALTERED_HEAD = ("X-rays", "AUC", "Accuracy", "Recall", "Specificity")
ALTERED_NOTE = """<p class='credit'>A model that reads lungs should lose most of its AUC when the
lungs are hidden, and little when the borders are. At the threshold {threshold}, {images} test
X-rays.</p>"""
NOT_MEASURED = "not measured"
