"""What the kernel forbids a half once it is set up: entered once, last, or not at all."""
