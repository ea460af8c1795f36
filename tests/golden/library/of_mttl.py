"""Numbers of Arrow and MBC (arXiv 2405.11157), from mttl."""

import pathlib
from types import SimpleNamespace

import foreign
import torch
from drawing import draw


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


def _transforms(root: pathlib.Path):
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


def arrow(root: pathlib.Path) -> dict:
  transforms = _transforms(root)
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
  transform = transforms.ArrowTransform(
    transforms.ArrowTransformConfig(name='x')
  )
  found = transform.transform(library, persist=False, recompute=True)
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


def mbc(root: pathlib.Path) -> dict:
  transforms = _transforms(root)
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
