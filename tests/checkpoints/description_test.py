"""What checkpoints say of themselves, now and as earlier versions wrote it."""

import dataclasses
import json

import pytest

from moe_lite.checkpoints.description import (
  BaseInfo,
  Description,
  check_same,
)
from moe_lite.core.errors import UserError
from moe_lite.t5.method import Method

BASE = BaseInfo('mini', 'abc')
METHOD = Method('.*_adapter/.*', {'key': 'IA3()'}, {'emb_dim': 8})
RUN = Description(
  METHOD,
  BASE,
  step=7,
  tree={'a': [[2, 3], 'float32']},
  optimizer={'count': [[], 'int32']},
  data={'mixture_or_task_name': 'tiny', 'data_shards': 4, 'seed': 0},
  batches=7,
)
EXPORTED = dataclasses.replace(
  RUN,
  optimizer=None,
  data=None,
  batches=None,
  training={'steps': 7},
  text={'inputs_eos': False},
  version=1,
)


@pytest.mark.parametrize('said', [RUN, EXPORTED], ids=['run', 'exported'])
def test_it_is_read_as_it_was_written(said):
  assert Description.from_json(said.to_json()) == said


def test_the_keys_are_those_of_the_files():
  run = ['step', 'base', 'method', 'network', 'trainable', 'tree', 'optimizer']
  assert list(RUN.to_json()) == [*run, 'data', 'batches']
  exported = ['format', 'version', 'training', 'text', *run[:-1]]
  assert list(EXPORTED.to_json()) == exported
  assert RUN.to_json()['base'] == {'source': 'mini', 'fingerprint': 'abc'}
  # What run.json has of it.
  shared = ['base', 'method', 'network', 'trainable', 'data']
  assert list(RUN.of_run()) == shared


def test_the_first_runs_said_less():
  said = json.loads(json.dumps(RUN.to_json()))
  for name in ('network', 'optimizer'):
    del said[name]
  del said['data']['data_shards']
  read = Description.from_json(said)
  assert read.method.network is None and read.optimizer is None
  assert RUN.data_shards == 4 and read.data_shards == 1
  assert 'network' not in read.to_json()


@pytest.mark.parametrize(
  'name', ['step', 'base', 'method', 'trainable', 'tree']
)
def test_what_every_version_wrote_must_be_there(name):
  said = RUN.to_json()
  del said[name]
  with pytest.raises(KeyError, match=name):
    Description.from_json(said)


def test_another_base_is_refused_and_both_are_named():
  check_same('run', BASE, BaseInfo('a copy', 'abc'))
  with pytest.raises(UserError, match='mini .*abc.*\n.*other .*def'):
    check_same('run', BASE, BaseInfo('other', 'def'))
