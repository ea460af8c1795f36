"""What `python -m moe_lite.convert` does, a file for each kind of thing."""
