"""PEFT's configuration: what is understood, and what it says of modules."""

import json
import math

import pytest

from moe_lite.checkpoints.peft import config
from moe_lite.core.errors import UserError

QUERY = 'encoder.block.0.layer.0.SelfAttention.q'
CROSS = 'decoder.block.0.layer.1.EncDecAttention.q'


def load(folder, **options):
  values = {'peft_type': 'LORA', 'target_modules': ['q'], **options}
  (folder / config.FILE).write_text(json.dumps(values))
  return config.load(folder)


@pytest.mark.parametrize(
  'options, says',
  [
    ({'r': 'eight'}, "has r 'eight', which should be of the type int"),
    ({'lora_alpha': []}, 'lora_alpha .* of the type int or float'),
    ({'alpha_pattern': {'q': 'x'}}, "'x' for 'q' in alpha_pattern: it is not"),
    ({'target_modules': []}, 'names no target_modules'),
    ({'peft_type': 'LOHA'}, "'LOHA'; only IA3 and LORA can be read"),
    ({'peft_type': 'IA3', 'use_dora': True}, 'use_dora True, which changes'),
  ],
)
def test_what_is_not_understood_is_named(tmp_path, options, says):
  with pytest.raises(UserError, match=says):
    load(tmp_path, **options)


def test_options_that_are_unset_or_steer_training_are_passed_over(tmp_path):
  values = load(tmp_path, bias='none', use_dora=False, lora_dropout=0.3)
  assert values['lora_dropout'] == 0.3


@pytest.mark.parametrize(
  'options, targeted',
  [
    ({}, (True, True)),
    ({'target_modules': 'all-linear'}, (True, True)),
    ({'target_modules': r'encoder\..*q'}, (True, False)),
    ({'target_modules': ['SelfAttention.q']}, (True, False)),
    ({'exclude_modules': ['SelfAttention.q']}, (False, True)),
    ({'target_modules': ['elfAttention.q']}, (False, False)),
  ],
)
def test_modules_are_targeted_by_ends_or_patterns(tmp_path, options, targeted):
  values = load(tmp_path, **options)
  found = tuple(config.is_targeted(values, x) for x in (QUERY, CROSS))
  assert found == targeted


def test_rank_and_alpha_are_those_of_the_module(tmp_path):
  values = load(tmp_path)
  assert (config.rank(values, QUERY), config.alpha(values, QUERY)) == (8, 8)
  patterns = {'rank_pattern': {'SelfAttention.q': 2}, 'lora_alpha': 6}
  values = load(tmp_path, **patterns, use_rslora=True)
  assert config.rank(values, QUERY) == 2 and config.rank(values, CROSS) == 8
  # Both scale with alpha / sqrt(rank), as we do with alpha / rank.
  for module, rank in ((QUERY, 2), (CROSS, 8)):
    scale = config.alpha(values, module) / rank
    assert scale == pytest.approx(6 / math.sqrt(rank))


def test_a_folder_is_peft_s_by_its_configuration(tmp_path):
  assert not config.is_peft(tmp_path)
  (tmp_path / config.FILE).write_text('{"format": "moe_lite"}')
  assert not config.is_peft(tmp_path)
  (tmp_path / config.FILE).write_text('{"peft_type": "SOMETHING"}')
  assert config.is_peft(tmp_path)
