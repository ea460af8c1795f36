"""The verb `select`: a few static experts of a routed run, and a selector.

Cluster routing lies between the routed run and one collapsed expert: requests
of a data set get the expert whose routers were fixed for data sets like it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epath

from moe_lite.core import files, json_text
from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.core.progress import say
from moe_lite.evaluation.exporting import Handed, network_of
from moe_lite.evaluation.routed_run import RoutedRun, check_ranked
from moe_lite.library import folder, selector
from moe_lite.library.usage_clusters import Clusters
from moe_lite.process import arguments, cli
from moe_lite.process.quiet_tensorflow import import_tensorflow

# Beside the index: which data sets were clustered how, and accuracies.
REPORT = 'select.json'
# The table of accuracies.
TABLE = 'select.md'


def select(argv: Sequence[str]) -> None:
  """Runs `select`; see `command`. Raises UserError for a mistake."""
  values = _flags()
  run = arguments.one_path('select', argv, values)
  if values.experts is None:
    raise UserError('Give --experts=K, the number of experts to serve.')
  import_tensorflow()
  cli.add_cache_dirs(values.seqio_additional_cache_dirs)
  from moe_lite.evaluation import routing_usage
  from moe_lite.library import static_accuracy

  routed = RoutedRun(run, values.step, values.gin_file)
  arguments.check_apart(values.to, routed.base)
  if values.evaluate:
    check_ranked(values.evaluate)
  routing = routing_usage.measure_run(
    run,
    values.mixture,
    values.split,
    values.examples,
    routed.step,
    values.gin_file,
  )
  clusters = Clusters.of(routing, values.experts, values.seed)
  _write(routed, clusters, values)
  report: dict[str, Any] = {
    'run': run,
    'step': routed.step,
    'data': {
      'mixtures': ', '.join(values.mixture or [routed.data]),
      'split': values.split,
      'examples_a_task': values.examples,
    },
    'seed': values.seed,
    'experts': clusters.members,
  }
  _report(values.to, report)
  say(
    f'Wrote {values.to}: {values.experts} experts for {len(routing)} data '
    'sets.',
    *(f'  {name}: {", ".join(x)}' for name, x in clusters.members.items()),
  )
  if values.evaluate:
    measured = static_accuracy.measure(
      routed,
      clusters,
      values.to,
      values.evaluate,
      values.evaluate_split,
      values.examples,
      values.gin_file,
    )
    _report(values.to, report | {'accuracy': measured.report()})
    table = measured.table()
    replace_text(epath.Path(values.to) / TABLE, table + '\n')
    say(f'Accuracy on {values.evaluate}, {values.evaluate_split}:', table)


def _flags() -> flags.FlagValues:
  values = arguments.to_flag()
  arguments.of_run(values)
  arguments.add(values, flags.DEFINE_integer, 'experts', lower_bound=1)
  arguments.add(values, flags.DEFINE_list, 'mixture')
  arguments.add(values, flags.DEFINE_string, 'split', 'train')
  arguments.add(values, flags.DEFINE_integer, 'examples', 64, lower_bound=1)
  arguments.add(values, flags.DEFINE_integer, 'seed', 0)
  arguments.add(values, flags.DEFINE_string, 'evaluate')
  arguments.add(values, flags.DEFINE_string, 'evaluate_split', 'validation')
  arguments.add(values, flags.DEFINE_list, 'seqio_additional_cache_dirs', [])
  return values


def _write(routed: RoutedRun, clusters: Clusters, values: Any) -> None:
  """Writes the library, which appears whole or not at all."""
  over = f'{values.split}, {values.examples} examples a task'
  with files.new(values.to) as partial:
    for name, sets in clusters.members.items():
      served = ', '.join(sets)
      handed = routed.fixed(clusters.weights(sets), f'{served}, {over}')
      folder.check_expert(routed.run, network_of(handed.description))
      _write_expert(str(partial), name, handed, served)
    selector.write(partial, clusters.experts)


def _write_expert(path: str, name: str, handed: Handed, served: str) -> None:
  folder.write(
    path,
    name,
    handed.leaves,
    handed.description,
    {**handed.training, 'serves': served},
    handed.vocabulary,
    handed.text,
  )


def _report(path: str, report: Mapping[str, Any]) -> None:
  where = epath.Path(path) / REPORT
  replace_text(where, json_text.dumps(report, indent=2) + '\n')
