"""T5X's own test files over our code.

Each is copied, with our functions in place of those that it tests. `t5x_own`
gives them T5X's names and signatures. docs/tutorials/t5x.md explains the
failures.
"""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from tests.integrations.t5x_commands import needs_t5x
from tests.paths import ROOT


@dataclasses.dataclass(frozen=True)
class File:
  """A test file of T5X.

  Attributes:
    path: where it lies in T5X.
    imports: what its modules are replaced by.
    dropped: lines that are left out.
    without: parts of the names of tests that ask for what we do not have.
    failures: the tests that fail.
    passed: the number of tests that pass.
  """

  path: str
  imports: dict[str, str]
  without: tuple[str, ...] = ()
  dropped: tuple[str, ...] = ()
  failures: frozenset[str] = frozenset()
  passed: int = 0


FILES = (
  File(
    'losses_test.py',
    {'from t5x import losses': 'losses'},
    # It is computed inside `normalization`.
    without=('sum_weights_per_segment',),
    passed=6,
  ),
  File(
    'decoding_test.py',
    {'from t5x import decoding': 'decoding'},
    without=(
      # Prompts, and caches that were filled before.
      *('uneven_prefix', 'temperature_sample_prefix', 'force_decode_prefix'),
      *('with_initial_index', 'max_decode_steps_endpad', 'align_prompt'),
      *('max_decode_steps_docstring_ex4', 'max_decode_steps_hard_limit'),
      *('cache_map_with_index', 'with_state_callback', 'with_logit_callback'),
      # Scores of samples, and several samples of an input.
      *('sample_log_prob', 'temperature_sample_num_decodes'),
      # Options as traced values, and the least probability of a beam.
      *('dynamic_topp_max_decode_steps', 'beam_search_min_log_prob'),
      # A function on caches by the names of their leaves.
      'test_cache_map',
    ),
    # Our sampling returns no scores.
    dropped=(
      'assert_array_equal(scores, [[0.0]])',
      'assert_array_equal(scores, [[0.0] * num_decodes] * batch_size)',
    ),
    passed=11,
  ),
  File(
    'examples/t5/layers_test.py',
    {'from t5x.examples.t5 import layers': 'layers'},
    without=(
      *('causal_mask_extra_batch_dims', 'combine_masks', 'combine_biases'),
      *('decoder_mask_prefix_lm', 'composite_causal_attention'),
      'embedding_initializes_correctly',
    ),
    failures=frozenset(
      {'test_embedder_raises_exception_for_incorrect_input_type'}
    ),
    passed=21,
  ),
  File(
    'models_test.py',
    {
      'from t5x import models': 'models',
      'from t5x import test_utils': 'test_model',
    },
    dropped=('import t5.data.tasks',),
    failures=frozenset(
      {
        'test_predict_batch_loop_and_caches_are_equal',
        'test_score_batch',
        'test_score_batch_can_return_intermediates',
        'test_train_transformer_wmt',
      }
    ),
    passed=24,
  ),
)


@pytest.mark.t5x
@needs_t5x
@pytest.mark.parametrize('file', FILES, ids=lambda file: file.path)
def test_files_of_t5x(file, tmp_path):
  from moe_lite.integrations import t5x_parts

  text = (t5x_parts.FOLDER / file.path).read_text()
  for line, ours in file.imports.items():
    name = line.split()[-1]
    new = f'from tests.integrations.t5x_own import {ours} as {name}'
    text, count = re.subn(rf'^{re.escape(line)}$', new, text, flags=re.M)
    assert count == 1, line
  for part in file.dropped:
    text, count = re.subn(rf'^.*{re.escape(part)}.*\n', '', text, flags=re.M)
    assert count, part
  copy = tmp_path / pathlib.Path(file.path).name
  # T5X's test model imports a package that it does not use.
  empty = tmp_path / 't5' / 'data'
  empty.mkdir(parents=True)
  (empty / '__init__.py').touch()
  path = os.pathsep.join((str(ROOT), str(tmp_path)))
  # T5X is imported as our own code imports it.
  copy.write_text(f'from moe_lite.integrations import t5x_parts\n{text}')
  report = tmp_path / 'report.xml'
  options = ('-q', '--import-mode=importlib', f'--junitxml={report}')
  if file.without:
    options += ('-k', f'not ({" or ".join(file.without)})')
  done = subprocess.run(
    (sys.executable, '-m', 'pytest', *options, '-W', 'ignore', str(copy)),
    cwd=tmp_path,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': path},
    capture_output=True,
    text=True,
  )
  cases = xml.etree.ElementTree.parse(report).findall('.//testcase')
  failed = {
    case.get('name')
    for case in cases
    if case.find('failure') is not None or case.find('error') is not None
  }
  assert failed == file.failures, done.stdout
  assert len(cases) - len(failed) == file.passed, done.stdout
