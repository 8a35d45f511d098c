"""What the catalog accepts, as pure functions: each returns the value in its one form or raises a sentence.

Forms, code and the shipped TOML files all go through these, so that a value that is refused in one place is refused in
every place, and before anything is written. Every error names the argument (``field``), and none repeats a value that
could be an API key.
"""
