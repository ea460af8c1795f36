"""The model card of exported adapters."""

from typing import Any

from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.stages import told

_CARD = """\
---
library_name: moe_lite
tags: [adapter, mixture-of-experts, t5]
---

# {name}

Adapters for a frozen T5, made with moe_lite: {count:,} parameters at
{sites}.

| | |
|---|---|
{rows}

They stand on the base named above and on no other; its fingerprint is checked
when they are loaded, as by `moe_lite.load(base, adapters)` in Python. Name this
folder where a run is asked for:

```
python -m moe_lite.eval ... --gin.CHECKPOINT_PATH="'{name}'" \\
  --gin.INITIAL_CHECKPOINT_PATH="'...'"
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
"""
_NOT_FOR_TORCH = """
They do not load without JAX: the loader for torch knows (IA)³, LoRA, and
mixtures with soft and top-k routers. `python -m moe_lite.library split` makes
(IA)³ or LoRA of each expert of a mixture.
"""


def write_card(
  name: str, said: Description, count: int, for_torch: bool
) -> str:
  """Returns the text of the card.

  Args:
    name: the name of the folder.
    said: what the adapters say of themselves, their network included.
    count: how many parameters they have.
    for_torch: whether `torch_adapters.py` lies beside the card.
  """
  assert said.method.network is not None
  rows: dict[str, Any] = {
    'base': f'{said.base.source}, fingerprint {said.base.fingerprint}',
    **{f'at `{site}`': what for site, what in said.method.sites.items()},
    **(said.training or {}),
    **told(said.stages),
    **({'tasks': ', '.join(said.tasks['names'])} if said.tasks else {}),
  }
  card = _CARD + (_FOR_TORCH if for_torch else _NOT_FOR_TORCH)
  return card.format(
    name=name,
    count=count,
    sites=', '.join(f'`{site}`' for site in said.method.network['adapters']),
    rows='\n'.join(f'| {key} | {value} |' for key, value in rows.items()),
  )
