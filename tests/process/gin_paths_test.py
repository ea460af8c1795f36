"""What is found in the gin folder."""

import pytest

from moe_lite.process import gin_paths


@pytest.mark.parametrize(
  ('files', 'found'),
  [
    (['models/x.gin', 'data/mini.gin', 'runs/y.gin'], 'data/mini_eval.gin'),
    (['/a/folder/data/t0_train.gin'], 'data/t0_eval.gin'),
    (['data/of_somebody.gin'], 'data/...'),
    (['models/t5_1_1_xl.gin'], 'data/...'),
  ],
)
def test_data_to_evaluate_on(files, found):
  assert gin_paths.eval_data(files) == found


def test_files_that_give_a_macro_a_value():
  found = gin_paths.providers('NUM_SHARDS')
  assert found and all((gin_paths.folder() / file).exists() for file in found)
  assert gin_paths.providers('MODEL_DIR') == []
