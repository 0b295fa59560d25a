"""Pure: facts in, findings out."""
