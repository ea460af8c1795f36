"""Adapters as Hugging Face's PEFT keeps them."""
