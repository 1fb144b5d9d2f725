"""What the Figures tab says."""

INTRO = """<p class='lead'>What the models are worth, on 624 X-rays they never learned from. Every figure is counted from a table of predictions that lies
beside the model, with its 95% interval.</p>"""
TABLE = "Measured, and what the source claims"
TABLE_HEAD = (
    "Model",
    "Recipe",
    "Source's accuracy",
    "Accuracy",
    "Recall",
    "Specificity",
    "AUC",
    "Missed",
    "Called back",
)
TABLE_NOTE = """<p class='credit'>At each model's own threshold; nobody tuned it on the test set. Intervals: Wilson, for AUC bootstrap. The source reports one
accuracy a model, without interval or recall. Runs beside the three models on duty are kept for comparison.</p>"""
PUBLISHED = "What others published on the same X-rays"
PUBLISHED_HEAD = ("Model", "Accuracy", "Recall", "Specificity", "AUC", "Remark")
PUBLISHED_NOTE = (
    "<p class='credit'>As their authors report them; none was measured again here, and how their"
    " thresholds were chosen is seldom said.</p>"
)
ROC = "Every threshold of {title}: what it finds and what it costs"
ROC_HELP = "Move over the curve, or along the slider: each place on it is a threshold."
ROC_X, ROC_Y = "healthy called back", "pneumonias found"
ROC_ALT = "ROC curves on the test set; {title} has an area of {auc} under its curve"
THRESHOLD = "Threshold, from strict to cautious"
# Words in brackets are filled in by the page as the slider moves.
READOUT = (
    "At the threshold [t]: [missed] of [ill] pneumonias missed (recall [recall]), [back] of"
    " [healthy] healthy called back (specificity [specificity])"
)
DEFAULT_POINT = "in use"
NO_TABLE = "No table of test predictions came with these weights, so there is no curve to draw."
OTHER_WEIGHTS = (
    "Other weights than the bundled ones answer now; the pictures below belong to the bundled ones."
)
PICTURES = "Pictures of {title}"
CAPTIONS = {
    "training_curves": "Training: loss and accuracy, epoch by epoch",
    "roc": "ROC: pneumonias found against healthy called back",
    "precision_recall": "Precision and recall",
    "confusion": "Confusion: what it is, and what the model says",
    "calibration": "Calibration: how often a probability comes true",
    "robustness": "Under robustness: lungs or borders hidden, other framing, exposure and encoding",
    "seeds": "Other random seeds",
}
STRESS = "{title} under robustness: the same test X-rays, altered"
STRESS_HEAD = ("Pictures", "AUC", "Accuracy", "Recall", "Specificity")
STRESS_NOTE = """<p class='credit'>A model that reads lungs should lose most of its AUC when the lungs are hidden, and little when the borders are. At
the threshold {threshold}, {images} test X-rays.</p>"""
