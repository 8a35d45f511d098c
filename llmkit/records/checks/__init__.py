"""Validation of input, as pure functions: each returns the value in canonical form or raises an error with a sentence.

Forms, code and the shipped TOML files all use these functions, so that a value refused in one place is refused
everywhere, before anything is written. Every error names the argument (``field``), and none repeats a value that could
be an API key.
"""
