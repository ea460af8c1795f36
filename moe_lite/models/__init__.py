"""What is computed with a whole network: losses, scores, predictions, routing.

A thing belongs here if it takes a whole network and does not know about runs or
files.
"""

from moe_lite.models.choice_model import ChoiceModel
from moe_lite.models.model import EncoderDecoderModel

__all__ = ['ChoiceModel', 'EncoderDecoderModel']
