"""Evaluates from Python what `python -m moe_lite.eval` evaluates."""

from collections.abc import Sequence
from typing import Any

from moe_lite.evaluation.results import Evaluation
from moe_lite.process import calling


def evaluate(
  gin_files: Sequence[str],
  *,
  gin_search_paths: Sequence[str] = (),
  seqio_additional_cache_dirs: Sequence[str] = (),
  **macros: Any,
) -> Evaluation:
  """Evaluates a run, or the frozen base, on a task or a mixture.

  This is what `python -m moe_lite.eval` does with the same files and macros. A
  task that an earlier call finished in the same folder is not repeated. What
  gin was told before is cleared.

  Args:
    gin_files: the gin files of an evaluation: models/, methods/, data/ and
      runs/eval.gin. The `config.gin` of a run may stand for the first two.
    gin_search_paths: folders to look for gin files in first.
    seqio_additional_cache_dirs: folders to look for cached tasks in.
    **macros: the values of macros, such as CHECKPOINT_PATH and EVAL_OUTPUT_DIR;
      see `finetuning.finetune`.

  Returns:
    What `results.json` holds. Its `average` is None where nothing was ranked.

  Raises:
    UserError: where the command would end with a message and exit code 2.
  """
  return calling.call(
    'evaluation.evaluate',
    'runs/eval.gin',
    gin_files,
    macros,
    gin_search_paths,
    seqio_additional_cache_dirs,
  )
