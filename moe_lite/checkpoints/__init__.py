"""Reading and writing parameters: bases, and runs of our own loop."""
