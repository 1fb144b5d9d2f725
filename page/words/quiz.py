"""What the Quiz tab says."""

INTRO = """<p class='lead'>Decide first, then see what the models say and what the data set calls
it. Six X-rays of children that stand nowhere else on this page, in a random order. Nothing is
recorded, and only you see your score.</p>"""
QUESTION = "Does this X-ray show pneumonia?"
CHOICES = {"NORMAL": "No: NORMAL", "PNEUMONIA": "Yes: PNEUMONIA"}
NEXT, LAST, AGAIN = "Next X-ray", "See the result", "Play again"
PLACE = "X-ray {place} of {of}"
ASK = "Your turn: the models wait until you have decided."
GONE = "The round was no longer in memory; this is a new one."
RIGHT, WRONG = "You are right", "You are not with the data set"
TRUTH = "The data set calls it {truth}; you said {mine}."
DONE = "Done: you were right on {right} of {of}."
NOT_A_TEST = """<p class='credit'>Six X-rays tell nobody's skill, neither yours nor a model's: by
tossing coins one person in nine gets five or more right. What the models are worth on 624 X-rays
stands under Results. The truth here is the data set's label, given by physicians; no label is
beyond doubt.</p>"""
SCORE_HEAD = ("Who", "Right", "Missed", "False alarms", "Uncertain")
SCORE_TITLE = "Score"
YOU = "You"
UNAVAILABLE = "cannot answer now"
