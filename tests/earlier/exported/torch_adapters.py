"""Adapters that moe_lite trained, on a T5 of Hugging Face's.

  import torch_adapters  # This file, from the folder of the adapters.
  from transformers import T5ForConditionalGeneration

  network = T5ForConditionalGeneration.from_pretrained('google/t5-v1_1-base')
  handle = torch_adapters.attach(network)
  network.generate(...)
  handle.remove()  # Or, for a while: `with torch_adapters.attach(network):`.

It needs torch, safetensors and the network, and nothing else of moe_lite. An
adapter becomes a module of the layer that it stands in, such as
`encoder.block.0.layer.0.SelfAttention.key_adapter`: it moves with the network,
is part of its state, and trains if asked to (routers then draw no jitter).
On a network of bfloat16 it stays float32, and activations stay bfloat16.

Adapters belong to one base. Its sizes, activation and head are checked, which
other weights may share: compare `handle.base` with where yours are from.

E experts, R rank; a token has D features, H heads of K, or F features in the
hidden layer. Source: Zadouri et al., arXiv 2309.05444, section 2.
"""

import contextlib
import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn


class Site(NamedTuple):
  """What an adapter stands on, and one token's shape before and after it."""

  operation: str
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]


class Router(nn.Module):
  """Softmax over experts; with k, of the k likeliest (of equals, the first)."""

  def __init__(self, features, num_experts, jitter=0, k=None, renormalize=True):
    super().__init__()
    self.k, self.renormalize = k, renormalize
    self.kernel = nn.Parameter(torch.empty(features, num_experts))

  def forward(self, x: Tensor) -> Tensor:
    """[..., features] to float32 weights [..., E]."""
    # The kernel is rounded to the activations' type, as it was in training.
    logits = x.float() @ self.kernel.to(x.dtype).float()
    weights = logits.softmax(-1)
    if self.k is None:
      return weights
    order = weights.sort(dim=-1, descending=True, stable=True).indices
    weights = weights * torch.zeros_like(weights).scatter(
      -1, order[..., : self.k], 1
    )
    if not self.renormalize:
      return weights
    mass = weights.sum(-1, keepdim=True)
    # p / p would never train a router: one expert's mass counts as a constant.
    return weights / (mass.detach() if self.k == 1 else mass)


class Adapter(nn.Module):
  """Gives what the operation at a site should have written.

  Built from the site and from its fields in adapter_config.json.
  """

  def hook(self, operation: nn.Module, args: Any, outputs: Tensor) -> Tensor:
    """As torch calls it. A method: a copied network's hook is its own."""
    return self(args[0], outputs)


class IA3(Adapter):
  """`outputs * scale`."""

  def __init__(self, site):
    super().__init__()
    self.scale = nn.Parameter(torch.empty(site.outputs))

  def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
    return outputs * self.scale.flatten().to(outputs.dtype)


class LoRA(Adapter):
  """`outputs + (alpha / R) * (inputs a) b`."""

  def __init__(self, site, rank, alpha):
    super().__init__()
    self.a = nn.Parameter(torch.empty(math.prod(site.inputs), rank))
    self.b = nn.Parameter(torch.empty(rank, math.prod(site.outputs)))
    self.strength = alpha / rank

  def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
    x, a, b = (t.to(outputs.dtype) for t in (inputs, self.a, self.b))
    return outputs + (x @ a * self.strength) @ b


class MoV(Adapter):
  """`outputs * sum_e p_e scale_e`, routed by head where it reads heads."""

  def __init__(self, site, num_experts, router, router_reads):
    super().__init__()
    self.shape, self.reads_outputs = site.outputs, router_reads == 'outputs'
    features = site.outputs[-1] if self.reads_outputs else site.inputs[-1]
    self.router = _build(ROUTERS, router, features)
    self.scale = nn.Parameter(torch.empty(num_experts, *site.outputs))

  def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
    y = outputs.unflatten(-1, self.shape)
    p = self.router(y if self.reads_outputs else inputs).to(y.dtype)
    # Small differences from one keep bits that `scale` itself would lose.
    difference = (self.scale - 1).to(y.dtype)
    if self.reads_outputs and len(self.shape) == 2:
      mixture = torch.einsum('...he,ehk->...hk', p, difference)
    else:
      mixture = torch.tensordot(p, difference, 1)
    if self.router.renormalize:  # Weights sum to one.
      return (y + y * mixture).reshape(outputs.shape)
    kept = p.sum(-1).reshape(p.shape[:-1] + (1,) * (y.ndim - p.ndim + 1))
    return (y * (kept + mixture)).reshape(outputs.shape)


class MoLoRA(Adapter):
  """`outputs + (alpha / R) * sum_e p_e (inputs a_e) b_e`."""

  def __init__(self, site, num_experts, rank, alpha, router, router_reads):
    super().__init__()
    self.reads_outputs, self.strength = router_reads == 'outputs', alpha / rank
    inputs, outputs = math.prod(site.inputs), math.prod(site.outputs)
    features = outputs if self.reads_outputs else inputs
    self.router = _build(ROUTERS, router, features)
    self.a = nn.Parameter(torch.empty(num_experts, inputs, rank))
    self.b = nn.Parameter(torch.empty(num_experts, rank, outputs))

  def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
    x, a, b = (t.to(outputs.dtype) for t in (inputs, self.a, self.b))
    p = self.router(outputs if self.reads_outputs else inputs) * self.strength
    # Experts are weighted in rank space, where activations are smallest.
    ranks = torch.einsum('...d,edr->...er', x, a) * p.to(x.dtype)[..., None]
    return outputs + ranks.flatten(-2) @ b.flatten(0, 1)


ADAPTERS = {'IA3': IA3, 'LoRA': LoRA, 'MoV': MoV, 'MoLoRA': MoLoRA}
ROUTERS = {'SoftRouter': Router, 'TopKRouter': Router}
# Modules of a layer in their order, as moe_lite and as transformers names them.
LAYERS = {
  'encoder': {'attention': 'SelfAttention', 'mlp': 'DenseReluDense'},
  'decoder': {
    'self_attention': 'SelfAttention',
    'encoder_decoder_attention': 'EncDecAttention',
    'mlp': 'DenseReluDense',
  },
}
# Sizes of which transformers has another name.
SIZES = {
  'emb_dim': 'd_model',
  'head_dim': 'd_kv',
  'mlp_dim': 'd_ff',
  'num_encoder_layers': 'num_layers',
}


class Attached(contextlib.ExitStack):
  """Adapters on a network, until `remove` or the end of a `with`.

  Attributes:
    base: `source` and `fingerprint` of the base that they were trained on.
    adapters: by path, such as 'encoder/layers_0/attention/key_adapter'.
  """

  base: dict[str, str]
  adapters: dict[str, Adapter]
  remove = contextlib.ExitStack.close


def attach(network: nn.Module, folder: Any = None) -> Attached:
  """Puts adapters on a T5ForConditionalGeneration.

  Args:
    network: with T5's `encoder`, `decoder` and `config`.
    folder: of the adapters; by default the one that this file lies in.

  Raises:
    ValueError: if the folder cannot be read, or its adapters are not of this
      network or unknown here. Nothing is attached then.
  """
  folder = pathlib.Path(folder or pathlib.Path(__file__).parent)
  handle = Attached()
  described, handle.base, leaves = _read(folder)
  _check(network.config, described)
  handle.adapters, places = {}, {}
  for path, module, site in _sites(described):
    name = path.rpartition('/')[2]
    what = described['adapters'][name.removesuffix('_adapter')]
    try:
      handle.adapters[path] = _build(ADAPTERS, what, site)
      parent = network.get_submodule(module)
      places[path] = name, parent, parent.get_submodule(site.operation)
    except (AttributeError, ValueError) as error:
      raise ValueError(f'{path} cannot stand here: {error}.') from error
    if hasattr(parent, name):
      raise ValueError(f'{path} stands there already: remove it first.')
  _fill(handle.adapters, leaves)
  for path, (name, parent, operation) in places.items():
    adapter = handle.adapters[path].to(next(parent.parameters()).device)
    parent.add_module(name, adapter)
    handle.callback(delattr, parent, name)
    handle.callback(operation.register_forward_hook(adapter.hook).remove)
  return handle


def _read(folder: pathlib.Path) -> tuple[dict[str, Any], Any, dict[str, Any]]:
  """The description of the network, that of the base, and leaves by path."""
  try:
    config = json.loads((folder / 'adapter_config.json').read_text())
    if (config['format'], config['version']) != ('moe_lite', 1):
      raise ValueError(f'{config["format"]}, version {config["version"]}')
    leaves = safetensors.torch.load_file(folder / 'adapter_model.safetensors')
    needed = {*SIZES, 'num_heads', 'num_decoder_layers', 'mlp_activations'}
    if missing := {*needed, 'adapters'} - set(config['network']):
      raise ValueError(f'its network lacks {min(missing)}')
    return config['network'], config['base'], leaves
  except (
    OSError,
    KeyError,
    TypeError,
    ValueError,
    safetensors.SafetensorError,
  ) as error:
    raise ValueError(f'{folder} holds no such adapters: {error!r}.') from error


def _build(classes: dict[str, Any], described: Any, *args: Any) -> Any:
  """An adapter or router from its JSON, {'type': 'MoV', 'num_experts': 10}."""
  fields = dict(described) if isinstance(described, dict) else {}
  try:
    return classes[fields.pop('type', described)](*args, **fields)
  except (KeyError, TypeError) as error:
    raise ValueError(f'{described} is none of {", ".join(classes)}') from error


def _check(config: Any, wanted: dict[str, Any]) -> None:
  """Compares the networks that transformers and moe_lite describe."""
  get = lambda name: getattr(config, name, None)
  found = {name: get(SIZES.get(name, name)) for name in wanted}
  # Their 'gelu' is the exact one, moe_lite's the approximation.
  names = {'gelu_new': 'gelu', 'gelu': 'exact gelu'}
  first = names.get(get('dense_act_fn'), get('dense_act_fn'))
  found['mlp_activations'] = [first, 'linear'][: 1 + bool(get('is_gated_act'))]
  # Until version 5 one field said that the head is tied and scaled.
  is_tied = getattr(config, 'scale_decoder_outputs', get('tie_word_embeddings'))
  found['logits_via_embedding'] = is_tied
  differing = [
    f'{name} is {found[name]} in the network and {value} in the folder'
    for name, value in wanted.items()
    if name != 'adapters' and value != found[name]
  ]
  if differing:
    raise ValueError(f'{"; ".join(differing)}.')


def _sites(sizes: dict[str, Any]) -> Iterator[tuple[str, str, Site]]:
  """Every adapter's path, the module that it joins, and its site."""
  D, F = (sizes['emb_dim'],), (sizes['mlp_dim'],)
  H, K = heads = sizes['num_heads'], sizes['head_dim']
  attention = {
    **{name: Site(name[0], D, heads) for name in ('query', 'key', 'value')},
    'out': Site('o', (H * K,), D),
  }
  factors = ['wi_0', 'wi_1'] if len(sizes['mlp_activations']) > 1 else ['wi']
  mlp = {
    **{name: Site(name, D, F) for name in factors},
    'intermediate': Site('act', F, F),  # Of the first factor.
    'wo': Site('wo', F, D),
  }
  for stack, modules in LAYERS.items():
    for i in range(sizes[f'num_{stack}_layers']):
      for j, (module, theirs) in enumerate(modules.items()):
        sites = mlp if module == 'mlp' else attention
        for name in (x for x in sites if x in sizes['adapters']):
          path = f'{stack}/layers_{i}/{module}/{name}_adapter'
          yield path, f'{stack}.block.{i}.layer.{j}.{theirs}', sites[name]


def _fill(adapters: dict[str, Adapter], leaves: dict[str, Tensor]) -> None:
  """Gives every parameter its leaf, once all are known to fit."""
  parameters = {
    f'{path}/{name.replace(".", "/")}': parameter
    for path, adapter in adapters.items()
    for name, parameter in adapter.named_parameters()
  }
  shape = lambda x: 'absent' if x is None else list(x.shape)
  for name in sorted(parameters.keys() | leaves.keys()):
    found, wanted = shape(leaves.get(name)), shape(parameters.get(name))
    if found != wanted:
      raise ValueError(f'{name} is {found} in the file, but {wanted} here.')
    parameters[name].data.copy_(leaves[name])
