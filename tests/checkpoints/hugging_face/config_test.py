"""Configurations of Hugging Face's: of a T5 that we have, or one message."""

import numpy as np
import pytest

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.hugging_face import config as configs
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from tests.checkpoints.hugging_face import written_files as made


def wanted(config):
  model = EncoderDecoderModel(Transformer(config))
  return model.abstract_variables()['params']


@pytest.mark.parametrize(
  'change, message',
  [
    ({'model_type': 'bart'}, "config.json has model_type 'bart'; only T5"),
    ({'model_type': None}, 'config.json has model_type None'),
    ({'d_ff': None}, 'config.json has d_ff None; a whole number'),
    ({'feed_forward_proj': 'gated-x'}, "feed_forward_proj 'gated-x'; the net"),
    ({'feed_forward_proj': 'gelu'}, "feed_forward_proj 'gelu'; the network"),
    ({'layer_norm_epsilon': 1e-5}, 'layer_norm_epsilon 1e-05; the network'),
  ],
)
def test_what_is_no_network_of_ours_is_refused(tmp_path, change, message):
  made.write(tmp_path, made.state('1.1'), **change)
  with pytest.raises(UserError, match=message):
    bases.read(str(tmp_path))


def test_a_broken_config_is_named(tmp_path):
  made.write(tmp_path, made.state('1.1'))
  for text in ('{"model', '[]'):
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(UserError, match='config.json'):
      bases.read(str(tmp_path))


@pytest.mark.parametrize(
  'change, message',
  [
    (
      {'emb_dim': 6},
      'd_model 8 in config.json, emb_dim 6 in the models/ gin file',
    ),
    # What no leaf's shape tells.
    ({'num_heads': 3, 'head_dim': 2}, 'num_heads 2 .* d_kv 3 in config.json'),
    (
      {'relative_attention_max_distance': 64},
      'relative_attention_max_distance 128 in config.json',
    ),
    (
      {'mlp_activations': ('silu', 'linear')},
      r"feed_forward_proj gated-gelu in config.json, mlp_activations \('silu",
    ),
    (
      {'logits_via_embedding': True},
      'tie_word_embeddings False in config.json, logits_via_embedding True',
    ),
  ],
)
def test_another_network_is_refused_by_both_names(tmp_path, change, message):
  made.write(tmp_path, made.state('1.1'))
  config = made.network(**change)
  with pytest.raises(UserError, match=message):
    bases.load_base(str(tmp_path), wanted(config), config)


def test_leaves_of_something_else_have_no_network():
  with pytest.raises(UserError, match='not the leaves of a T5'):
    configs.infer({'a': np.ones(3)})


@pytest.mark.parametrize(
  'change',
  [
    {'eos_token_id': 2},
    {'pad_token_id': 1},
    {'decoder_start_token_id': 2},
    {'is_encoder_decoder': False},
    {'tie_encoder_decoder': True},
    {'pruned_heads': {'0': [1]}},
    {'quantization_config': {'bits': 4}},
  ],
)
def test_what_is_taken_for_granted_is_read(tmp_path, change):
  (name,) = change
  made.write(tmp_path, made.state('1.1'), **change)
  with pytest.raises(UserError, match=f'config.json has {name}'):
    bases.read(str(tmp_path))


GATED_GELU = ('gelu', 'linear')


@pytest.mark.parametrize(
  'change, activations',
  [
    # FLAN-T5's first files.
    ({'dense_act_fn': 'gelu', 'is_gated_act': True}, GATED_GELU),
    ({'dense_act_fn': 'gelu_new', 'is_gated_act': True}, GATED_GELU),
    ({'dense_act_fn': 'relu', 'is_gated_act': True}, ('relu', 'linear')),
    (
      {'feed_forward_proj': 'gated-gelu', 'dense_act_fn': 'gelu_new'},
      GATED_GELU,
    ),
    (
      {'feed_forward_proj': 'gated-silu', 'is_gated_act': True},
      ('silu', 'linear'),
    ),
    ({'feed_forward_proj': 'gated-gelu', 'eos_token_id': [1]}, GATED_GELU),
  ],
)
def test_activations_are_said_in_three_fields(tmp_path, change, activations):
  made.write_config(tmp_path, **{'feed_forward_proj': None, **change})
  assert configs.network(tmp_path).mlp_activations == activations


@pytest.mark.parametrize(
  'change',
  [
    {'feed_forward_proj': 'gated-gelu', 'is_gated_act': False},
    {'feed_forward_proj': 'gated-gelu', 'dense_act_fn': 'relu'},
    {'feed_forward_proj': 'relu', 'dense_act_fn': 'gelu_new'},
  ],
)
def test_activations_that_contradict_are_refused(tmp_path, change):
  made.write_config(tmp_path, **change)
  with pytest.raises(UserError, match='contradict one another'):
    configs.network(tmp_path)


def test_mt5_is_t5_1_1(tmp_path):
  made.write(
    tmp_path,
    made.state('1.1'),
    model_type='mt5',
    feed_forward_proj=None,
    tie_word_embeddings=None,
  )
  found = configs.network(tmp_path)
  assert found.mlp_activations == GATED_GELU
  assert not found.logits_via_embedding
  bases.read(str(tmp_path))
