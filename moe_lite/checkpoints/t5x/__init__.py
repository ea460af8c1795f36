"""Checkpoints as T5X keeps them: its own form, and Orbax's."""
