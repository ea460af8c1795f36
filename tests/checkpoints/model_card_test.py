"""The card of exported adapters names what they are and what they need."""

import dataclasses

from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.model_card import write_card
from moe_lite.t5.method import Method

SAID = Description(
  Method('.*', {'key': 'IA3()'}, {'adapters': {'key': {'type': 'IA3'}}}),
  BaseInfo('mini', 'abc'),
  training={'steps': 7},
)


def test_it_names_the_base_the_method_and_the_training():
  card = write_card('mine', SAID, 12345, for_torch=False)
  assert card.startswith('---\nlibrary_name: moe_lite\n')
  for words in (
    '# mine',
    '12,345 parameters at\n`key`.',
    '| base | mini, fingerprint abc |',
    '| at `key` | IA3() |',
    '| steps | 7 |',
    '--gin.CHECKPOINT_PATH="\'mine\'"',
  ):
    assert words in card
  assert 'torch_adapters' not in card
  assert 'They do not load without JAX' in card


def test_it_shows_how_to_use_them_from_torch():
  card = write_card('mine', SAID, 1, for_torch=True)
  plain = write_card('mine', SAID, 1, for_torch=False)
  assert card.startswith(plain.partition('\nThey do not load')[0])
  assert 'torch_adapters.attach(network)' in card


def test_it_tells_the_stages_before():
  stage = {
    'source': 'runs/first',
    'method': {'key': 'IA3()'},
    'trainable': '.*_adapter/.*',
    'steps': 4000,
    'data': 'a_mixture',
    'rates': {'100': 0.003},
  }
  said = dataclasses.replace(SAID, stages=[stage])
  card = write_card('mine', said, 1, for_torch=False)
  assert (
    '| stage 1 | IA3, 4,000 steps, on a_mixture, at a rate of 0.003 '
    '(runs/first, where .*_adapter/.* trained) |'
  ) in card
