"""An offline verifier of Chancery's transcripts and evidence files, written from docs/TRANSCRIPT.md and docs/LOG.md.

It shares no code with the program, so that nobody has to trust the program about what the program made.
"""
