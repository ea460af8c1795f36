"""The verbs `export` and `import`: what a run trained, in another form."""

from collections.abc import Sequence

import numpy as np
from absl import flags

from moe_lite.checkpoints import exported
from moe_lite.checkpoints.hugging_face.file_names import VOCABULARY
from moe_lite.checkpoints.model_card import EVALUATIONS, LICENSE, ROUTING
from moe_lite.checkpoints.run_checkpoints import IMPORTED, Checkpoints
from moe_lite.core import files, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.evaluation import carded
from moe_lite.evaluation.exporting import Handed, network_of
from moe_lite.inference.vocabulary import model_in
from moe_lite.process import arguments


def export(argv: Sequence[str]) -> None:
  """Runs `export`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  arguments.of_run(values)
  arguments.add(values, flags.DEFINE_string, 'license')
  arguments.add(values, flags.DEFINE_list, 'evaluations', [])
  run = arguments.one_path('export', argv, values)
  handed = Handed.of(run, values.step, values.gin_file)
  fingerprint = parameters.fingerprint(handed.leaves)
  found = carded.evaluations(run, fingerprint, values.evaluations)
  training = dict(handed.training)
  if found:
    training[EVALUATIONS] = found
  if routing := carded.routing(run, fingerprint):
    training[ROUTING] = routing
  if values.license:
    training[LICENSE] = values.license
  exported.save(
    values.to,
    handed.leaves,
    handed.description,
    training,
    handed.vocabulary,
    handed.text,
    overwrite=values.overwrite,
  )
  count = parameters.count(handed.leaves)
  say(f'Wrote {values.to}: {count:,} parameters.')
  if not training.get(EVALUATIONS):
    say(
      f'{values.to}/{exported.CARD} has no accuracy. Evaluate {run} with '
      f'`python -m moe_lite.eval`, and export it again.'
    )
  if LICENSE not in training:
    say(
      f'{values.to}/{exported.CARD} names no licence. If you publish it, name '
      'one with --license, such as --license=apache-2.0.'
    )


def import_(argv: Sequence[str]) -> None:
  """Runs `import`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  folder = arguments.one_path('import', argv, values)
  if not exported.is_exported(folder):
    raise UserError(f'{folder} does not hold adapters that `export` wrote.')
  trained, description = exported.load(folder)
  # If the network is not understood, that is said before anything is written.
  network_of(description)
  vocabulary = model_in(folder)
  with files.new(values.to, values.overwrite) as partial:
    checkpoints = Checkpoints(str(partial))
    # This stands for the state of the optimizer, which exports do not have.
    nothing = {IMPORTED: np.zeros((), np.int32)}
    checkpoints.save(description.step, trained, nothing, {}, description)
    checkpoints.close()
    if vocabulary is not None:
      (partial / VOCABULARY).write_bytes(vocabulary)
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')
