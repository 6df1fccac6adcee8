"""How a check ends that does not hold."""


class Refused(Exception):
    """The input is refused: `word` is the document's name for the reason, `why` is for people."""

    def __init__(self, word: str, why: str) -> None:
        super().__init__(f"{word}: {why}")
        self.word = word
        self.why = why


class Malformed(Exception):
    """Bytes or a value are not of the form they should have. Whoever asked knows the word for it."""
