"""What the Batch tab says."""

from page.archive import MEGABYTE, MOST, MOST_BYTES, MOST_UNPACKED

INTRO = f"""<p class='lead'>Many X-rays at once: drop files or a zip archive and take a table home.
At most {MOST} pictures of {MOST_BYTES // MEGABYTE} MB each; an archive may unpack to {
    MOST_UNPACKED // MEGABYTE
} MB. Each file is deleted once it is read; one that cannot be read says why and spoils
nothing.</p>"""
UPLOAD = "X-rays or a zip archive"
FORCE = "Answer what is refused, too"
FORCE_INFO = "What does not look like a frontal chest X-ray gets no label otherwise."
GONE = "These files are no longer in memory. Send them once more."
EXAMPLES = "<p class='credit'>The six examples; your own files take their place.</p>"
WORKING = "Reading {done} of {of} …"
DONE = {True: "1 file: {counts}.", False: "{of} files: {counts}."}
HEAD = ("No.", "File", "Answer", "Probability", "Threshold", "Remarks")
TABLE = "What came out, file by file"
CSV, CSV_NAME = "Download as CSV", "pneumonia-batch.csv"
OUTCOMES = {
    "PNEUMONIA": "PNEUMONIA",
    "NORMAL": "NORMAL",
    "UNCERTAIN": "uncertain",
    "REFUSED": "refused",
    "UNREADABLE": "unreadable",
}
UNEXPECTED = "It cannot be read here."
