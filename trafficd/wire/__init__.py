"""Pure encodings, shared by both ends."""
