"""The words of the report and of the button that makes it."""

BUTTON = "Download report"
NOTHING = "There is nothing to report yet: choose an X-ray that is answered."
TITLE = "Report of a chest X-ray reading"
DISCLAIMER = """<strong>Not a medical device.</strong> Made by neural networks for learning and
research; never decide about a patient with it. The networks learned from children of one to five
years of one hospital and look for nothing but pneumonia."""
HOW_TO_READ = """Colours show what the network used, not where an illness is: the more colour, the
more a place speaks for the class (HiResCAM)."""
MOVED = "Robustness: the same X-ray, altered"
