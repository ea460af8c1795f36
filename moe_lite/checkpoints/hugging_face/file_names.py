"""The names of the files in Hugging Face's folder of a model."""

from collections.abc import Iterable

CONFIG = 'config.json'
# A SentencePiece model, beside the weights.
VOCABULARY = 'spiece.model'

# Weights in one file; what comes first is preferred.
SAFETENSORS = 'model.safetensors'
FLAX = 'flax_model.msgpack'
TORCH = 'pytorch_model.bin'
WEIGHTS = (SAFETENSORS, FLAX, TORCH)
# Behind the name of one of these: the index of weights in several files.
INDEX = '.index.json'


def choose(names: Iterable[str]) -> str | None:
  """The file to begin with, weights or an index; None where there is none."""
  present = set(names)
  for name in WEIGHTS:
    for main in (name, name + INDEX):
      if main in present:
        return main
  return None


def patterns(main: str) -> list[str]:
  """Patterns of the names of all files that belong to what `choose` chose."""
  if not main.endswith(INDEX):
    return [main]
  stem, _, suffix = main.removesuffix(INDEX).rpartition('.')
  return [main, f'{stem}-*-of-*.{suffix}']
