"""What the tests say about files that are refused."""

import os
import unittest

from chancery_verifier.refusal import Refused

# A prime, so that members that stand at even distances are not all missed.
STRIDE = 1 if os.environ.get("EVERY_BYTE") else 61


class Refusals(unittest.TestCase):
    def refused(self, word: str, call, *arguments, **named) -> str:
        with self.assertRaises(Refused) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.word, word, caught.exception.why)
        return caught.exception.why

    def assert_every_byte_counts(self, data: bytes, verify) -> None:
        """One bit flips in every byte, or in some of them."""
        verify(data)
        for place in range(0, len(data), STRIDE):
            tampered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            with self.assertRaises(Refused, msg=f"byte {place} of {len(data)}"):
                verify(tampered)
