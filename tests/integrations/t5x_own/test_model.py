"""`t5x.test_utils`, whose model is ours over our network."""

from t5x import test_utils

from moe_lite.integrations.t5x import EncoderDecoderModel
from moe_lite.t5.config import T5Config
from moe_lite.t5.network import Transformer

# The sizes of a network, which have the same names in both configs.
SIZES = (
  *('vocab_size', 'dtype', 'emb_dim', 'num_heads', 'num_encoder_layers'),
  *('num_decoder_layers', 'head_dim', 'mlp_dim', 'mlp_activations'),
  *('dropout_rate', 'logits_via_embedding'),
)


def __getattr__(name):
  return getattr(test_utils, name)


def get_t5_test_model(**overrides):
  """Returns our model in the sizes of T5X's test model."""
  theirs = test_utils.get_t5_test_model(**overrides)
  sizes = {name: getattr(theirs.module.config, name) for name in SIZES}
  return EncoderDecoderModel(
    module=Transformer(T5Config(**sizes)),
    input_vocabulary=theirs.input_vocabulary,
    output_vocabulary=theirs.output_vocabulary,
    optimizer_def=theirs.optimizer_def,
    trainable='.*',
  )
