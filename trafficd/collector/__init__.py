"""The central service: takes totals and nothing else, and keeps their history."""
