"""Numbers of SMEAR (arXiv 2306.03745), from its own code."""

import pathlib
from types import SimpleNamespace

import foreign
import torch
from drawing import draw


def layer(root: pathlib.Path) -> dict:
  controller = foreign.load(
    root / 'hyperformer', 'hyperformer.adapters.adapter_controller_fast'
  )
  B, S, T, d, E, H = 3, 6, 4, 16, 4, 4
  config = SimpleNamespace(
    **dict.fromkeys(
      (
        'add_layer_norm_before_adapter analyze_model bias_in_up_sampler '
        'cosine_router probe_input_features same_experts_across_routers '
        'use_load_balancing'
      ).split(),
      False,
    ),
    **dict.fromkeys(
      (
        'epsilon_greedy expert_dropout jitter_noise supervised_loss_weight '
        'token_dropout'
      ).split(),
      0,
    ),
    add_layer_norm_after_adapter=True,
    device='cpu',
    model_dim=d,
    no_router_bias=True,
    normalize_router_weights=True,
    num_adapters=E,
    num_routers=1,
    reduction_factor=d // H,
    router_init_scale=0.01,
    routing_estimator='parameter_averaging_routing',
    same_init_then_branch=-1,
    tasks=['task'],
  )
  site = controller.AdapterController(config).eval()
  # Nothing stays at its first value, so that each norm takes part.
  params = {}
  for seed, (name, leaf) in enumerate(sorted(site.named_parameters())):
    is_scale = name.endswith('norm.weight') or 'layer_norms.0.weight' in name
    leaf.data = draw(40 + seed, *leaf.shape, scale=0.3) + 1.0 * is_scale
    if 'weights_layer_norms' in name:
      # So that no expert takes nearly all of an example.
      leaf.data *= 0.3
    params[name] = leaf.data
  seen = []
  site.multi_routers.register_forward_hook(
    lambda module, inputs, outputs: seen.append(outputs[2][0])
  )

  def run(x, encoded=None):
    output = site(None, None, None, x, encoded)
    return {'output': output, 'probs': seen[-1]}

  expert = site.multi_adapters
  leaves = {
    'expert/down_kernel': expert.down_samplers_weights[0],
    'expert/down_bias': expert.down_samplers_bias[0],
    'expert/up_kernel': expert.up_samplers_weights[0],
  }
  norms = site.multi_routers.multi_router_layer_norms[0]
  kernel_norms = site.multi_routers.multi_router_weights_layer_norms[0]
  results = {
    **leaves,
    'router/kernel': site.multi_routers.router_weights[0],
    'router/input_norm_scale': norms.weight,
    'router/input_norm_bias': norms.bias,
    'router/kernel_norm_scale': kernel_norms.weight,
    'router/kernel_norm_bias': kernel_norms.bias,
    'output_norm_scale': site.post_layer_norm.weight,
    'output_norm_bias': site.post_layer_norm.bias,
  }
  written = {leaf.data_ptr() for leaf in results.values()}
  assert written == {leaf.data_ptr() for leaf in params.values()}

  x, y = draw(60, B, S, d), draw(61, B, T, d)
  lengths = torch.tensor([6, 4, 2])
  mask = torch.arange(S)[None] < lengths[:, None]
  inputs = {'encoder': (x, None), 'decoder': (y, x)}
  for place, (hidden, encoded) in inputs.items():
    results[f'{place}/x'] = hidden
    found = run(hidden, encoded)
    results |= {f'{place}/{key}': value for key, value in found.items()}
    for name, leaf in leaves.items():
      results[f'{place}/averaged_{name.removeprefix("expert/")}'] = (
        torch.einsum('be,e...->b...', found['probs'], leaf)
      )
  # The layer reads padding too. Each row cut to its length is what a mask would
  # give.
  cut = [
    (run(x[i : i + 1, :n]), run(y[i : i + 1], x[i : i + 1, :n]))
    for i, n in enumerate(lengths)
  ]
  results['padded/mask'] = mask
  for place, rows in zip(inputs, zip(*cut, strict=True), strict=True):
    for key in ('probs', 'output'):
      results[f'padded/{place}_{key}'] = torch.cat(
        [
          torch.nn.functional.pad(row[key], (0, 0, 0, S - row[key].shape[1]))
          if key == 'output' and place == 'encoder'
          else row[key]
          for row in rows
        ]
      )
  return results
