"""How sure the routers of runs are, and how alike their experts.

  python -m tests.benchmarks.experts MIXTURE RUN [RUN ...]

The numbers are those of `python -m moe_lite.routing_report`, as means over
routers: the entropy of a token's probabilities as a share of the greatest there
can be, the mutual information of expert and data set as a share of the same,
and the mean cosine of two experts by site.
"""

import sys
from collections import defaultdict

import numpy as np

from moe_lite.core import tables
from moe_lite.process.quiet_tensorflow import import_tensorflow
from moe_lite.routing_report.experts import similarities

EXAMPLES = 16


def main(mixture: str, *runs: str) -> None:
  import_tensorflow()
  from moe_lite.evaluation import exporting, routing_usage

  rows, sites = [], set()
  for run in runs:
    usages = routing_usage.measure_run(run, [mixture], 'validation', EXAMPLES)
    entropy, known = _of_routers(usages)
    trained, said = exporting.read(run)
    found = similarities(exporting.network_of(said), trained, '.*')
    cosines = defaultdict(list)
    for place, of_pairs in found.items():
      site = place.rpartition('/')[2]
      others = ~np.eye(len(of_pairs), dtype=bool)
      cosines[site].append(of_pairs[others].mean())
    means = {site: float(np.mean(x)) for site, x in cosines.items()}
    sites |= means.keys()
    rows.append((run, entropy, known, means))
  order = sorted(sites)
  print(
    tables.table(
      ('run', 'entropy', 'known data set', *order),
      [
        (
          run,
          f'{entropy:.3f}',
          f'{known:.3f}',
          *(f'{means[site]:.3f}' for site in order),
        )
        for run, entropy, known, means in rows
      ],
    )
  )


def _of_routers(usages) -> tuple[float, float]:
  """The mean entropy of routers, and what the data set tells of the expert."""
  entropies, informations = [], []
  first = next(iter(usages.values()))
  for router in first:
    of_sets = [of_set[router] for of_set in usages.values()]
    total = of_sets[0]
    for usage in of_sets[1:]:
      total = total + usage
    most = np.log(len(total.weight))
    entropies.append(float(total.entropy / total.tokens) / most)
    p = np.array([x.weight / x.tokens for x in of_sets])
    inner = -(p * np.log(np.maximum(p, 1e-12))).sum(-1).mean()
    mean = p.mean(0)
    outer = -(mean * np.log(np.maximum(mean, 1e-12))).sum()
    informations.append(float(outer - inner) / most)
  return float(np.mean(entropies)), float(np.mean(informations))


if __name__ == '__main__':
  main(*sys.argv[1:])
