"""Names of the features of a batch, and of what is kept of them in decoding.

SeqIO's EncDecFeatureConverter makes the first of them. Tokens are int32:
the inputs have the shape [B, S], the targets [B, T].
"""

ENCODER_INPUTS = 'encoder_input_tokens'
# The decoder reads the targets, shifted one place to the right.
DECODER_INPUTS = 'decoder_input_tokens'
DECODER_TARGETS = 'decoder_target_tokens'
LOSS_WEIGHTS = 'decoder_loss_weights'
# Those that hold ids of tokens.
ID_FEATURES = (ENCODER_INPUTS, DECODER_INPUTS, DECODER_TARGETS)
# A packed batch has these features, too. They say to which example each token
# belongs, and at which place of that example it stands.
PACKING = (
  'encoder_segment_ids',
  'decoder_segment_ids',
  'encoder_positions',
  'decoder_positions',
)
# Which task each token belongs to, counted from 1, and 0 at padding; see
# `data.task_ids`.
TASK_IDS = ('encoder_task_ids', 'decoder_task_ids')
# The number of the task of an example whose tokens do not bear it yet.
TASK_NUMBER = 'task_number'
# The numbers that there are, int32 [B, N]: 1 to N in every row. With them, the
# statistics of routers are also summed by task.
TASK_NUMBERS = 'task_numbers'
# A task may bring one vector for each input, for routers to read. The feature
# is float32 [B, size of the vector].
INPUTS_EMBEDDING = 'inputs_embedding'
# With answer choices, the decoder's features are [B, C, T], and this one says
# which choices are right: int32 [B, C]. A choice without tokens fills up.
IS_RIGHT = 'choice_is_right'
# The collection of variables of what all decoding steps read of the inputs. It
# is computed once.
ENCODED = 'encoded'
