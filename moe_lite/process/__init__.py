"""How a command begins, is configured, meets other processes, and ends.

A thing belongs here if it concerns the process itself, and not what it runs.
"""
