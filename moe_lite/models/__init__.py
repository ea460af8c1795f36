"""What is asked of a network: loss, scores, predictions, routing.

A thing belongs here if it takes a whole network and knows no run and no file.
"""

from moe_lite.models.model import EncoderDecoderModel

__all__ = ['EncoderDecoderModel']
