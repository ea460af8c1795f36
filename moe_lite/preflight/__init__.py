"""Compiles a run for a TPU slice that need not be there.

`python -m moe_lite.preflight` takes the gin files of a run and the name of a
topology, and lets the TPU's own compiler (libtpu) compile the very step that
the run would take. It prints what the compiler reckons, and measures nothing.
"""
