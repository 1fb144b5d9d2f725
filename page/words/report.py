"""The words of the report and of the button that makes it."""

BUTTON = "Keep a report"
NOTHING = "There is nothing to report yet: choose an X-ray that is answered."
TITLE = "Report of a chest X-ray reading"
DISCLAIMER = """Not a medical device. Made by neural networks for learning and research; never decide about a patient with it. The
networks learned from children of one to five years of one hospital and look for nothing but pneumonia."""
HOW_TO_READ = """The colours show what the network used, not where an illness is: the more colour, the more a place speaks for the class. All of
its cells and one constant add up to the answer's logit (HiResCAM)."""
MOVED = "What moves the answer"
