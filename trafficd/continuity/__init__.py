"""What outlives the reader: its state in RAM, a checkpoint and the link events since."""
