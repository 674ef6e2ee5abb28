"""Fetching, building and checking the programs of corpus/."""
