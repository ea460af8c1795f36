"""Computes golden numbers with the code of other projects, on a CPU.

Each function writes what one project computes from seeded random weights.
README.md beside this file says what the arrays are.

  python tests/golden/library/make.py --mttl PATH --phatgoose PATH --peft PATH \
    --smear PATH --t-few PATH --output tests/golden/library
"""

import argparse
import pathlib
from types import SimpleNamespace

import foreign
import numpy as np
import torch

FILES = {}


def golden(name: str, peer: str):
  """Registers what computes the file `name` from the checkout of `peer`."""

  def register(function):
    FILES[name] = (peer, function)
    return function

  return register


def draw(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
  """A normal draw of its own seed."""
  generator = torch.Generator().manual_seed(seed)
  return scale * torch.randn(*shape, generator=generator)


@golden('phatgoose_router', 'phatgoose')
def phatgoose_router(root: pathlib.Path) -> dict:
  moe = foreign.load(
    root, 'src.models.addons.moe', bare=['src.utils'], absent=['ipdb']
  )
  import gin

  # As its own configuration for training has it.
  gin.bind_parameter('ExtendableAddon.separate_experts', True)
  B, L, d, out, E, R = 2, 5, 16, 12, 6, 4
  x, v = draw(0, B, L, d, scale=2.0) + 0.3, draw(1, E, d) - 0.2
  a, b = draw(2, E, d, R, scale=0.3), draw(3, E, R, out, scale=0.3)
  host = torch.nn.Linear(d, out)
  link = moe.MoELink()
  link.extend(E, 'expert')
  router = moe.Router(
    host, {}, 'read', 'write', link, 'host_module.in_features'
  )
  router.extend(E)
  experts = moe.FFNExperts(
    host,
    {},
    'write',
    link,
    'host_module.in_features',
    'host_module.out_features',
    R,
    'identity',
    normalize_topk=True,
    topk_value=2,
    divide_by_d_bottleneck=True,
  )
  experts.extend(E)
  for e in range(E):
    getattr(router, f'expert_embeddings_expert_{e}').data = v[e]
    getattr(experts, f'layer1_expert_{e}').data = a[e]
    getattr(experts, f'layer2_expert_{e}').data = b[e]
  weights = router._forward(x)
  output = experts._forward(x, weights)

  # The stage that trains a gate: one expert, and the gate multiplies its input.
  single = moe.MoELink()
  single.extend(1, 'expert')
  hidden = {'write': torch.ones(B, 1)}
  gated = moe.FFNExperts(
    host,
    hidden,
    'write',
    single,
    d,
    out,
    R,
    'identity',
    divide_by_d_bottleneck=True,
    learn_input_gate='only_sigmoid',
  )
  gated.extend(1)
  gated.layer1_expert_0.data, gated.layer2_expert_0.data = a[0], b[0]
  gated.expert_input_gate.data = v[0]
  base = host(x)
  gated.pre_forward(x)
  (total, *_) = gated.post_forward(base)
  return {
    'x': x,
    'v': v,
    'a': a,
    'b': b,
    'weights': weights,
    'output': output,
    'gated_output': total - base,
  }


def _library(module, experts: dict, rank: int):
  """A library of mttl's kind, kept in memory."""

  class Library(dict, module.ExpertLibrary):
    def get_auxiliary_data(self, data_type):
      del data_type
      return {}

  config = SimpleNamespace(lora_rank=rank, tie_params=None)
  return Library(
    {
      name: SimpleNamespace(
        expert_weights=leaves,
        expert_config=config,
        expert_info=SimpleNamespace(expert_config=config),
      )
      for name, leaves in experts.items()
    }
  )


def _mttl_transforms(root: pathlib.Path):
  models = 'mttl.models'
  return foreign.load(
    root,
    f'{models}.library.library_transforms',
    bare=[
      f'{models}.containers',
      f'{models}.containers.selectors',
      f'{models}.modifiers',
    ],
    absent=[
      'bitsandbytes',
      'pandas',
      'prettytable',
      'psutil',
      'pytorch_lightning',
      'wandb',
      'mttl.datamodule',
      f'{models}.containers.lora_containers',
      f'{models}.expert_model',
      f'{models}.get_optimizer',
      f'{models}.library.expert',
      f'{models}.library.expert_library',
      f'{models}.lightning',
      f'{models}.monitors',
      f'{models}.ranker',
      f'{models}.train_utils',
    ],
  )


@golden('mttl_arrow', 'mttl')
def mttl_arrow(root: pathlib.Path) -> dict:
  transforms = _mttl_transforms(root)
  selectors = foreign.also('mttl.models.containers.selectors.arrow_selector')
  context = foreign.also('mttl.models.expert_context')
  lora = foreign.also('mttl.models.modifiers.lora')
  B, L, d, out, E, R = 2, 5, 16, 12, 6, 4
  a, b = draw(20, E, d, R, scale=0.3), draw(21, E, R, out, scale=0.3)
  # One direction leads, so that float32 finds it closely.
  a[..., 0] *= 2.5
  x = draw(22, B, L, d)
  library = _library(
    transforms,
    {
      f'expert_{e}': {'site.lora_a': a[e], 'site.lora_b': b[e]}
      for e in range(E)
    },
    R,
  )
  arrow = transforms.ArrowTransform(transforms.ArrowTransformConfig(name='x'))
  found = arrow.transform(library, persist=False, recompute=True)
  u = torch.stack([found[f'expert_{e}']['site'] for e in range(E)])

  layer = torch.nn.Linear(d, out, bias=False)
  layer.weight.data.zero_()
  results = {'x': x, 'a': a, 'b': b, 'prototypes': u}
  routing = SimpleNamespace(task_names=None)
  for mark, top_k, temperature in (
    ('all', -1, 1.0),
    ('all_root_d', -1, -1.0),
    ('top_2', 2, 1.0),
    ('top_3_half', 3, 0.5),
  ):
    config = selectors.ArrowSelectorConfig(
      router_temp=temperature, top_k=top_k, selector_logging=False
    )
    selector = selectors.ArrowSelector(config, layer=layer)
    for e in range(E):
      selector.add_expert(f'expert_{e}')
    selector.overwrite_prototypes(u)
    logits = []
    selector._log_entropy = logits.append
    with context.InfoContainer(None, routing_infos=routing):
      chosen = selector(x)
    weights = chosen.weights
    if top_k > 0:
      weights = torch.zeros(B, L, E).scatter(-1, chosen.experts, weights)
    else:
      results[f'{mark}/logits'] = logits[0]
    results[f'{mark}/weights'] = weights
    stacked = SimpleNamespace(
      lora_a=a[:, None],
      lora_b=b[:, :, None],
      n_skills=E,
      layer=layer,
      dropout_layer=torch.nn.Identity(),
      scaling=1.0,
    )
    for merge_after in (False, True):
      name = 'of_outputs' if merge_after else 'of_parameters'
      results[f'{mark}/mean_{name}'] = (
        lora.SkilledLoRA.parallel_linear_weighted_forward(
          x, [stacked], weights, chosen.dim_names, merge_after
        )
      )
  return results


def _mbc(transforms, leaves: list[dict], components: int, clusters: int):
  """One run of mttl's clustering, with what it computes on the way."""
  names = [f'expert_{e:02}' for e in range(len(leaves))]
  library = _library(transforms, dict(zip(names, leaves, strict=True)), 4)
  seen = {}
  svd = transforms.sklearn.decomposition.TruncatedSVD
  similarity = transforms.cosine_similarity

  class Recorded(svd):
    def fit_transform(self, X, y=None):
      seen['sparse'] = X.copy()
      return super().fit_transform(X, y)

  def recorded(x, y):
    seen['embeddings'] = x
    seen['similarity'] = similarity(x, y)
    return seen['similarity']

  transforms.sklearn.decomposition.TruncatedSVD = Recorded
  transforms.cosine_similarity = recorded
  config = transforms.MBClusteringTransformConfig(
    name='x', n_components=components, k=clusters
  )
  try:
    found = transforms.MBCWithCosSimTransform(config).transform(library)
  finally:
    transforms.sklearn.decomposition.TruncatedSVD = svd
    transforms.cosine_similarity = similarity
  seen['labels'] = [
    next(int(key.split('_')[1]) for key, of in found.items() if name in of)
    for name in names
  ]
  return seen


@golden('mttl_mbc', 'mttl')
def mttl_mbc(root: pathlib.Path) -> dict:
  transforms = _mttl_transforms(root)
  E, d, R, out = 12, 20, 4, 30
  # Four families of three experts.
  a = draw(30, 4, d, R).repeat_interleave(3, 0) + 0.5 * draw(31, E, d, R)
  b = draw(32, 4, R, out).repeat_interleave(3, 0) + 0.5 * draw(33, E, R, out)
  leaves = [{'site.lora_a': a[e], 'site.lora_b': b[e]} for e in range(E)]
  results = {'a': a, 'b': b}
  for components in (64, 5):
    for key, value in _mbc(transforms, leaves, components, 4).items():
      if components == 64 or key != 'sparse':
        place = key if key == 'sparse' else f'svd_{components}/{key}'
        results[place] = value
  return results


@golden('peft_merge', 'peft')
def peft_merge(root: pathlib.Path) -> dict:
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


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  for peer in ('mttl', 'phatgoose', 'peft', 'smear', 't-few'):
    parser.add_argument(f'--{peer}', type=pathlib.Path, help='its checkout')
  parser.add_argument('--output', type=pathlib.Path, required=True)
  args = parser.parse_args()
  torch.set_num_threads(1)
  for name, (peer, compute) in FILES.items():
    root = getattr(args, peer)
    if root is None:
      print(f'{name}: left out, as --{peer.replace("_", "-")} was not given')
      continue
    with torch.no_grad():
      arrays = compute(root)
    np.savez_compressed(
      args.output / f'{name}.npz',
      **{
        key: np.asarray(value, np.int32)
        if np.asarray(value).dtype.kind in 'iu'
        else np.asarray(value, np.float32)
        for key, value in arrays.items()
      },
    )
    print(name, {key: np.shape(value) for key, value in arrays.items()})


if __name__ == '__main__':
  main()
