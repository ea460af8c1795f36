"""The model card of exported adapters.

Its head is YAML in the form of Hugging Face's hub, which shows the licence, the
base and the accuracies from it. Nothing on it is guessed: what was not measured
or not named is told to be so.
"""

import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.hugging_face import hub
from moe_lite.checkpoints.stages import told
from moe_lite.core import tables

# What `training` may have beside rows of the card's table; see `write_card`.
LICENSE, EVALUATIONS, ROUTING = 'license', 'evaluations', 'routing'
HUB_DATASETS = 'datasets of the hub'

_TEMPLATE = 'model_card.md.jinja'
# The name of the base that comes with the package.
_MINI = 'mini'
# What PEFT has, and what becomes of it when routers are fixed.
_IN_PEFT = {'IA3', 'LoRA'}
_MIXTURES = {'MoV', 'MoLoRA'}


def write_card(
  name: str, said: Description, count: int, for_torch: bool
) -> str:
  """Returns the text of the card.

  Args:
    name: the name of the folder.
    said: what the adapters say of themselves, their network included. Its
      `training` may name a license, as an identifier of the hub's, the data
      sets of the hub that were read, evaluations and the routing, both as
      `evaluation.carded` reads them. Everything else in it is a row of the
      card's table.
    count: how many parameters they have.
    for_torch: whether `torch_adapters.py` lies beside the card.
  """
  # Imported here, as only who writes a card needs it.
  import jinja2

  assert said.method.network is not None
  standing = said.method.network['adapters']
  kinds = {of['type'] for of in standing.values()}
  training = dict(said.training or {})
  license = training.pop(LICENSE, None)
  evaluations = training.pop(EVALUATIONS, ())
  routing = training.pop(ROUTING, None)
  datasets = training.get(HUB_DATASETS)
  rows: dict[str, Any] = {
    'base': f'{said.base.source}, fingerprint {said.base.fingerprint}',
    **{f'at `{site}`': what for site, what in said.method.sites.items()},
    'licence': license or 'none was named',
    **training,
    **told(said.stages),
  }
  if datasets:
    rows[HUB_DATASETS] = ', '.join(datasets)
  if said.tasks:
    rows['numbered tasks'] = ', '.join(said.tasks['names'])
  environment = jinja2.Environment(
    trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
  )
  package = importlib.resources.files('moe_lite.checkpoints')
  text = package.joinpath(_TEMPLATE).read_text(encoding='utf-8')
  card = environment.from_string(text).render(
    head=_head(name, said.base.source, kinds, license, datasets, evaluations),
    name=name,
    base=said.base.source,
    count=count,
    sites=', '.join(f'`{site}`' for site in standing),
    rows=rows,
    cell=lambda value: str(value).replace('|', '\\|').replace('\n', ' '),
    evaluations=[_evaluated(x) for x in evaluations],
    routed=any('router' in of for of in standing.values()),
    routing=routing,
    for_torch=for_torch,
    in_peft=kinds <= _IN_PEFT,
    plain_in_peft=kinds <= _IN_PEFT | _MIXTURES,
    is_mini=said.base.source == _MINI,
  )
  return card.strip() + '\n'


def _head(
  name: str,
  base: str,
  kinds: set[str],
  license: str | None,
  datasets: Sequence[str] | None,
  evaluations: Sequence[Mapping[str, Any]],
) -> str:
  # Imported here, as it takes a while, and only who writes a card needs it.
  from huggingface_hub import ModelCardData

  results = list(_results(evaluations))
  on_hub = hub.is_address(base)
  data = ModelCardData(
    library_name='moe_lite',
    tags=['adapter', 't5', *sorted(kind.lower() for kind in kinds)],
    license=license or 'unknown',
    base_model=hub.parse(base)[0] if on_hub else None,
    base_model_relation='adapter' if on_hub else None,
    datasets=list(datasets) if datasets else None,
    model_name=name if results else None,
    eval_results=results or None,
  )
  return data.to_yaml()


def _results(evaluations: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
  from huggingface_hub import EvalResult

  for evaluation in evaluations:
    for dataset, of in evaluation['datasets'].items():
      yield EvalResult(
        task_type='text-classification',
        dataset_type=dataset,
        dataset_name=dataset,
        dataset_split=evaluation['split'],
        metric_type='accuracy',
        metric_name='accuracy in percent, median over prompts',
        metric_value=round(of['median'], 2),
      )


def _evaluated(evaluation: Mapping[str, Any]) -> dict[str, Any]:
  """An evaluation as the template shows it."""
  examples = evaluation['examples']
  base = evaluation.get('base')
  header = ['data set', 'prompts', 'examples', 'chance']
  header += ['base'] * bool(base) + ['least', 'median', 'greatest']
  lines = []
  for dataset, of in evaluation['datasets'].items():
    number = of.get('examples')
    line = [dataset, str(of['prompts'])]
    line.append('' if number is None else f'{number:,}')
    line.append(_percent(of['chance']))
    if base:
      line.append(_percent(base['datasets'].get(dataset)))
    lines.append([*line, *(_percent(of[x]) for x in ('min', 'median', 'max'))])
  return {
    'mixture': evaluation['mixture'],
    'split': evaluation['split'],
    'measured': 'all examples'
    if examples is None
    else f'{examples:,} examples',
    'average': evaluation['average'],
    'base': base,
    'table': tables.table(header, lines),
  }


def _percent(value: float | None) -> str:
  return '' if value is None else f'{value:.1f}'
