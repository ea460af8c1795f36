"""The command that converts checkpoints: a file for each group of its verbs."""
