"""What a process owes the system that runs it: descriptors, signals, readiness, TLS."""
