"""The process that sees links and has no way out."""
