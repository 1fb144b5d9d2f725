"""The words of the Compare tab."""

WAITING = "Three networks read the same X-ray …"
OTHER_POINT = "This model does not offer that setting; it answers at its usual one ({name})."
NUMBERS = ("None", "One", "Two", "Three", "Four", "Five", "Six", "Seven")
CAUTION = (
    "They learned from the same X-rays, so their agreement is worth less than that of as many"
    " doctors."
)
DISAGREE = "They disagree: look at what each of them used, and trust none of them alone."


def agreement(called: dict[str, str]) -> str:
    """Who says what, in a sentence or two.

    Args:
        called: the title of each model and what it says: NORMAL, PNEUMONIA or UNCERTAIN.
    """
    groups = {
        answer: [title for title, said in called.items() if said == answer]
        for answer in ("PNEUMONIA", "NORMAL", "UNCERTAIN")
    }
    groups = {answer: titles for answer, titles in groups.items() if titles}
    if len(groups) == 1:
        answer, titles = next(iter(groups.items()))
        who = (
            f"All {NUMBERS[len(titles)].lower() if len(titles) < len(NUMBERS) else len(titles)}"
            " models"
            if len(titles) > 1
            else titles[0]
        )
        verb = "are" if len(titles) > 1 else "is"
        says = (
            f"{verb} uncertain: get a second read"
            if answer == "UNCERTAIN"
            else f"{'say' if len(titles) > 1 else 'says'} {answer}"
        )
        return f"{who} {says}.{f' {CAUTION}' if len(titles) > 1 and answer != 'UNCERTAIN' else ''}"
    parts = [
        f"{' and '.join(titles)} {_says(answer, len(titles))}" for answer, titles in groups.items()
    ]
    return f"{', '.join(parts)}. {DISAGREE}"


def _says(answer: str, count: int) -> str:
    if answer == "UNCERTAIN":
        return "are uncertain" if count > 1 else "is uncertain"
    return f"{'say' if count > 1 else 'says'} {answer}"
