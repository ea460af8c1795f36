"""Other people's training loops; nothing else of the package imports these."""
