"""WAT programs too large or too regular to be written by hand."""

GENERATED = {}
