"""The command `moe_lite.t5x`: what it refuses before T5X is asked."""

import pytest

from moe_lite.integrations import t5x_command
from tests.integrations.t5x_commands import has_t5x


@pytest.mark.parametrize(
  ('words', 'said'),
  [
    ([], "'' is not a kind of run: give train, eval, infer."),
    (['evel'], "Did you mean 'eval'?"),
    (['train', '--gin.OPTIMIZER=5'], '--gin.OPTIMIZER is not possible here'),
    (['train', '--gin.DATA_SHARDS=2'], 'T5X gives each host a shard'),
    (['train', "--gin.MERGE='ties'"], 'moe_lite.library merge'),
    (['train', '--gin.ROUTING_METRICS=True'], 'moe_lite.routing_report'),
  ],
)
def test_mistakes_end_with_one_message(words, said, capsys):
  assert t5x_command.main(['t5x', *words]) == 2
  error = capsys.readouterr().err
  assert said in error and 'Traceback' not in error


def test_help_names_the_kinds(capsys):
  assert t5x_command.main(['t5x', '--help']) == 0
  assert 'python -m moe_lite.t5x train' in capsys.readouterr().out


@pytest.mark.skipif(has_t5x, reason='T5X is installed here')
def test_without_t5x_one_message_says_what_to_install(capsys):
  assert t5x_command.main(['t5x', 'train', '--gin_file=x.gin']) == 2
  error = capsys.readouterr().err
  assert 'T5X cannot be imported' in error and 'Traceback' not in error
