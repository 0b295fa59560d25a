"""From totals to a decision: reads history, never a node."""
