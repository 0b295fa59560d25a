"""The process with the way out; it sees releases, never links."""
