"""The card of exported adapters names what they are and what they need."""

import dataclasses

import yaml
from huggingface_hub import ModelCardData

from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.model_card import write_card
from moe_lite.t5.method import Method


def head(card):
  return yaml.safe_load(card.split('---')[1])


SAID = Description(
  Method('.*', {'key': 'IA3()'}, {'adapters': {'key': {'type': 'IA3'}}}),
  BaseInfo('mini', 'abc'),
  training={'steps': 7},
)


def test_it_names_the_base_the_method_and_the_training():
  card = write_card('mine', SAID, 12345, for_torch=False)
  assert head(card)['license'] == 'unknown'
  assert 'was not measured' in card
  for words in (
    '# mine',
    '12,345 parameters at\n`key`.',
    '| base | mini, fingerprint abc |',
    '| at `key` | IA3() |',
    '| steps | 7 |',
    '--gin.CHECKPOINT_PATH="\'mine\'"',
    'convert export_peft mine',
    'The accuracy of these adapters was not measured',
    'no use on real',
  ):
    assert words in card
  assert '## Routing' not in card
  assert 'torch_adapters' not in card
  assert 'They do not load without JAX' in card


def test_its_head_is_of_the_hubs_form():
  evaluation = {
    'mixture': 'suite',
    'split': 'validation',
    'examples': 1500,
    'average': 68.0,
    'datasets': {
      'who': {'prompts': 2, 'chance': 50.0, 'min': 1, 'median': 2, 'max': 3}
      | {'examples': 3000}
    },
    'base': {'average': 50.5, 'datasets': {'who': 51.0}},
  }
  said = dataclasses.replace(
    SAID,
    base=BaseInfo('hf://google/flan-t5-base@main', 'abc'),
    training={
      'license': 'apache-2.0',
      'evaluations': [evaluation],
      'datasets of the hub': ['bigscience/P3'],
    },
  )
  card = write_card('mine', said, 1, for_torch=False)
  found = ModelCardData(**head(card))
  assert found.license == 'apache-2.0'
  assert found.base_model == 'google/flan-t5-base'
  assert found.datasets == ['bigscience/P3']
  assert 'mixture' not in ''.join(found.tags) and 'ia3' in found.tags
  (result,) = found.eval_results
  assert (result.dataset_name, result.metric_value) == ('who', 2)
  assert '`suite`, split `validation`, 1,500 examples of each prompt' in card
  assert (
    '| who      |       2 |    3,000 |   50.0 | 51.0 |   1.0 |    2.0 |'
    '      3.0 |'
  ) in card
  assert 'medians is 68.0, and that of the base is 50.5.' in card
  assert 'Nothing beyond\nthe accuracies' in card and 'no use' not in card
  assert '| licence | apache-2.0 |' in card


def test_it_shows_how_to_use_them_from_torch():
  card = write_card('mine', SAID, 1, for_torch=True)
  plain = write_card('mine', SAID, 1, for_torch=False)
  assert card.startswith(plain.partition('\nThey do not load')[0])
  assert (
    card.partition('PEFT does not')[2] == plain.partition('PEFT does not')[2]
  )
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


def test_it_tells_what_routers_do_and_how_they_get_to_peft():
  standing = {'key': {'type': 'MoV', 'router': {'type': 'SoftRouter'}}}
  method = Method('.*', {'key': 'MoV(a|b)'}, {'adapters': standing})
  said = dataclasses.replace(SAID, method=method)
  card = write_card('mine', said, 1, for_torch=True)
  assert 'What the routers do was not measured' in card
  assert 'PEFT has no routed mixtures.' in card and 'export_peft mine' not in (
    card
  )
  assert '| at `key` | MoV(a\\|b) |' in card
  routing = {
    'headline': 'Of 3 routers, 3 stayed uniform.',
    'examples': 64,
    'tasks': 2,
    'split': 'validation',
    'datasets': ['nli', 'who'],
  }
  said = dataclasses.replace(said, training={'routing': routing})
  card = write_card('mine', said, 1, for_torch=True)
  assert (
    'Of 3 routers, 3 stayed uniform. This was measured on 64 examples of each '
    'of\n2 tasks, split `validation`, of nli, who.'
  ) in card
  assert '| routing |' not in card
