"""How a command begins, is configured, meets other processes, and ends.

A thing belongs here if it is about the process that runs, whatever it runs.
"""
