"""The model card of exported adapters.

Its head is YAML in the form of Hugging Face's hub, which shows the licence, the
base and the accuracies from it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.hugging_face import hub
from moe_lite.checkpoints.stages import told
from moe_lite.core import tables

# What `training` may have beside rows of the card's table; see `write_card`.
LICENSE, EVALUATIONS = 'license', 'evaluations'

_CARD = """\
---
{head}
---

# {name}

Adapters for a frozen T5, made with moe_lite: {count:,} parameters at
{sites}.

| | |
|---|---|
{rows}

{accuracy}

They stand on the base named above and on no other; its fingerprint is checked
when they are loaded. In Python:

```python
import moe_lite

model = moe_lite.load('{base}', adapters='{name}')
```

Name this folder where a command asks for a run:

```
python -m moe_lite.eval ... --gin.CHECKPOINT_PATH="'{name}'" \\
  --gin.INITIAL_CHECKPOINT_PATH="'{base}'"
```
"""
_FOR_TORCH = """
With torch and transformers alone, on Hugging Face's form of that base, from
Python started in this folder:

```
import torch_adapters, transformers
network = transformers.T5ForConditionalGeneration.from_pretrained('...')
torch_adapters.attach(network)
network.generate(...)
```

PEFT does not load this folder. `python -m moe_lite.convert export_peft` writes
IA3 and LoRA in its form.
"""
_NOT_FOR_TORCH = """
They do not load without JAX: the loader for torch knows (IA)³, LoRA, and
mixtures with soft and top-k routers. `python -m moe_lite.library split` makes
(IA)³ or LoRA of each expert of a mixture.
"""
_NOT_EVALUATED = """\
The accuracy of these adapters was not measured before they were exported."""
_EVALUATED = """\
## Accuracy

In percent, by ranking the answer choices, over the prompts of each data set:
`{mixture}`, split `{split}`, {examples} of each prompt. The average of the
medians is {average:.1f}.

{table}"""


def write_card(
  name: str, said: Description, count: int, for_torch: bool
) -> str:
  """Returns the text of the card.

  Args:
    name: the name of the folder.
    said: what the adapters say of themselves, their network included. Its
      `training` may name a license, as an identifier of the hub's, and
      evaluations, as `evaluation.carded` reads them.
    count: how many parameters they have.
    for_torch: whether `torch_adapters.py` lies beside the card.
  """
  assert said.method.network is not None
  training = dict(said.training or {})
  license = training.pop(LICENSE, None)
  evaluations = training.pop(EVALUATIONS, ())
  rows: dict[str, Any] = {
    'base': f'{said.base.source}, fingerprint {said.base.fingerprint}',
    **{f'at `{site}`': what for site, what in said.method.sites.items()},
    'licence': license or 'none was named',
    **training,
    **told(said.stages),
    **({'tasks': ', '.join(said.tasks['names'])} if said.tasks else {}),
  }
  card = _CARD + (_FOR_TORCH if for_torch else _NOT_FOR_TORCH)
  return card.format(
    head=_head(name, said.base.source, license, evaluations),
    name=name,
    base=said.base.source,
    count=count,
    sites=', '.join(f'`{site}`' for site in said.method.network['adapters']),
    rows='\n'.join(f'| {key} | {value} |' for key, value in rows.items()),
    accuracy='\n\n'.join(map(_evaluated, evaluations)) or _NOT_EVALUATED,
  )


def _head(
  name: str,
  base: str,
  license: str | None,
  evaluations: Sequence[Mapping[str, Any]],
) -> str:
  # Imported here, as it takes a while, and only who writes a card needs it.
  from huggingface_hub import ModelCardData

  results = list(_results(evaluations))
  data = ModelCardData(
    library_name='moe_lite',
    tags=['adapter', 'mixture-of-experts', 't5'],
    license=license or 'unknown',
    base_model=hub.parse(base)[0] if hub.is_address(base) else None,
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


def _evaluated(evaluation: Mapping[str, Any]) -> str:
  examples = evaluation['examples']
  lines = [
    (
      dataset,
      str(of['prompts']),
      '' if of['chance'] is None else f'{of["chance"]:.1f}',
      *(f'{of[which]:.1f}' for which in ('min', 'median', 'max')),
    )
    for dataset, of in evaluation['datasets'].items()
  ]
  return _EVALUATED.format(
    mixture=evaluation['mixture'],
    split=evaluation['split'],
    examples='all examples' if examples is None else f'{examples:,} examples',
    average=evaluation['average'],
    table=tables.table(
      ('data set', 'prompts', 'chance', 'least', 'median', 'greatest'), lines
    ),
  )
