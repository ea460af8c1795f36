"""Other people's loops and networks; nothing else here imports these."""
