"""Models as Hugging Face keeps them, in folders and on its hub."""
