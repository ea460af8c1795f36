"""The network of a `models/` file that takes its sizes from `config.json`."""

from collections.abc import Callable

from etils import epath

from moe_lite.checkpoints.hugging_face import config, file_names, hub
from moe_lite.core.errors import UserError
from moe_lite.t5.config import T5Config

# What the file says of a network. Gin says everything else.
_SAID = (
  *('vocab_size', 'emb_dim', 'num_heads', 'head_dim', 'mlp_dim'),
  *('num_encoder_layers', 'num_decoder_layers', 'mlp_activations'),
  *('logits_via_embedding', 'relative_attention_num_buckets'),
  'relative_attention_max_distance',
)


def network_of(
  folder: str | None, make: Callable[..., T5Config] = T5Config
) -> T5Config:
  """Returns the network of a model of Hugging Face's: T5 1.0, 1.1 or mT5.

  Args:
    folder: a folder with `config.json`, here or in a bucket; or the address of
      a model of the hub, 'hf://ORGANISATION/NAME', which is downloaded.
    make: makes the network of its sizes. Gin gives it what the file does not
      say, such as adapters and types.

  Raises:
    UserError: if there is no such file, or if it describes another network.
  """
  if not isinstance(folder, str):
    raise UserError(
      f'INITIAL_CHECKPOINT_PATH = {folder!r}: models/hugging_face.gin takes '
      'its sizes from there. Give a folder with config.json, or '
      f'{hub.PREFIX}ORGANISATION/NAME.'
    )
  where = hub.download(folder) if hub.is_address(folder) else folder
  if not (epath.Path(where) / file_names.CONFIG).exists():
    raise UserError(
      f'INITIAL_CHECKPOINT_PATH = {folder!r} has no {file_names.CONFIG}, from '
      'which models/hugging_face.gin takes its sizes. Give a folder in the '
      f'format of Hugging Face, {hub.PREFIX}ORGANISATION/NAME, or the models/ '
      'file of that size.'
    )
  found = config.network(where)
  return make(**{name: getattr(found, name) for name in _SAID})
