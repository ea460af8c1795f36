"""Names of the features of a batch.

All but the last are those that SeqIO's EncDecFeatureConverter gives. Tokens are
int32: inputs [B, S], targets [B, T].
"""

ENCODER_INPUTS = 'encoder_input_tokens'
# What the decoder reads: the targets, one place to the right.
DECODER_INPUTS = 'decoder_input_tokens'
DECODER_TARGETS = 'decoder_target_tokens'
LOSS_WEIGHTS = 'decoder_loss_weights'
# What a packed batch has beside the tokens: which example a token is of, and
# its place there.
PACKING = (
  'encoder_segment_ids',
  'decoder_segment_ids',
  'encoder_positions',
  'decoder_positions',
)
# A vector of each input, float32 [B, F], that a task brings for its routers.
INPUTS_EMBEDDING = 'inputs_embedding'
