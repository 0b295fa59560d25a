"""Asks the kernel about the running halves from outside, and never the halves about themselves."""
