"""Numbers of merging and of Poly, from PEFT."""

import pathlib
import sys

import foreign
import torch
from drawing import draw


def merged(root: pathlib.Path) -> dict:
  merge = foreign.load(root / 'src', 'peft.utils.merge_utils')
  E, n, m = 4, 10, 12
  tensors, weights = draw(10, E, n, m), torch.tensor([0.7, 0.4, 1.0, 0.25])
  tasks = list(tensors)
  out = {
    'tensors': tensors,
    'weights': weights,
    'task_arithmetic': merge.task_arithmetic(tasks, weights),
  }
  draws = []
  bernoulli = torch.bernoulli

  def recorded(*args, **kwargs):
    draws.append(bernoulli(*args, **kwargs))
    return draws[-1]

  torch.bernoulli = recorded
  torch.manual_seed(11)
  try:
    for density in (0.2, 0.55):
      mark = f'density_{density}'
      out[f'{mark}/magnitude_prune'] = merge.magnitude_prune(
        tasks, weights, density
      )
      out[f'{mark}/pruned'] = torch.stack(
        [merge.prune(task, density, method='magnitude') for task in tasks]
      )
      for sign in ('total', 'frequency'):
        out[f'{mark}/ties_{sign}'] = merge.ties(tasks, weights, density, sign)
        draws.clear()
        out[f'{mark}/dare_ties_{sign}'] = merge.dare_ties(
          tasks, weights, density, sign
        )
        out[f'{mark}/dare_ties_{sign}_mask'] = torch.stack(draws)
      draws.clear()
      out[f'{mark}/dare_linear'] = merge.dare_linear(tasks, weights, density)
      out[f'{mark}/dare_linear_mask'] = torch.stack(draws)
  finally:
    torch.bernoulli = bernoulli
  return out


def poly(root: pathlib.Path) -> dict:
  foreign.forget('peft')
  sys.path.insert(0, str(root / 'src'))
  try:
    from peft import PolyConfig
    from peft.tuners.poly import layer as poly
  finally:
    sys.path.pop(0)
  B, L, d, out, E, R, tasks = 3, 4, 16, 12, 5, 4, 6
  x, ids = draw(80, B, L, d), torch.tensor([4, 0, 4])
  base = torch.nn.Linear(d, out, bias=False)
  base.weight.data.zero_()
  results = {'x': x, 'task_ids': ids}
  for splits in (1, 4):
    config = PolyConfig(r=R, n_tasks=tasks, n_skills=E, n_splits=splits)
    layer = poly.Linear(base, 'default', config).eval()
    router = layer.poly_router['default']
    router.module_logits.data = draw(81, tasks, splits * E)
    a = draw(82, splits, E, d // splits, R)
    b = draw(83, splits, E, R, out // splits)
    layer.poly_lora_A['default'].data = a
    layer.poly_lora_B['default'].data = b
    results |= {
      f'splits_{splits}/module_logits': router.module_logits,
      f'splits_{splits}/a': a,
      f'splits_{splits}/b': b,
      f'splits_{splits}/weights': router(ids, x),
      f'splits_{splits}/output': layer(x, task_ids=ids),
    }
  return results
