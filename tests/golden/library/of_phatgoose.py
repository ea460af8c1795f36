"""Numbers of PHATGOOSE (arXiv 2402.05859), from its own code."""

import pathlib

import foreign
import torch
from drawing import draw


def router(root: pathlib.Path) -> dict:
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
