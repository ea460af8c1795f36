"""A routed mixture with its routers fixed, in formulas and by command."""

import dataclasses
import functools
import json

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seqio

from moe_lite import adapters, routing
from moe_lite.checkpoints import exported, runs
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.peft.folder import read
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.convert import collapse, command, fixed_routers
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.files import check
from moe_lite.evaluation import results
from moe_lite.inference.source import ModelSource
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli, gin_paths
from moe_lite.routing.statistics import Usage, usages
from moe_lite.t5 import Transformer
from moe_lite.t5.description import (
  describe_method,
  describe_run,
  from_json,
  to_json,
)
from moe_lite.training import run_folder
from tests import tiny, tiny_run
from tests.paths import TINY_GIN

E = 3
ROUTERS = {
  'soft': routing.SoftRouter,
  'top-2': functools.partial(routing.TopKRouter, k=2),
  'top-1': functools.partial(routing.TopKRouter, k=1),
  'top-2 as released': functools.partial(
    routing.TopKRouter, k=2, renormalize=False
  ),
}


def mixtures(router=routing.SoftRouter):
  """Both kinds, reading either side, and an IA3 that stays."""
  mov = functools.partial(adapters.MoV, num_experts=E, router=router)
  molora = functools.partial(
    adapters.MoLoRA, num_experts=E, rank=2, alpha=3.0, router=router
  )
  return {
    'key': mov,
    'value': functools.partial(mov, router_reads='inputs'),
    'intermediate': mov,
    'query': molora,
    'wo': functools.partial(molora, router_reads='outputs'),
    'out': adapters.IA3,
  }


def draw(model, kernel):
  """Parameters away from the identity; routers' kernels times `kernel`."""
  rng = np.random.default_rng(0)

  def leaf(path, shape):
    name = parameters_path(path)
    if name.endswith('router/kernel'):
      return kernel * rng.normal(0, 1, shape.shape).astype(np.float32)
    if 'adapter/scale' in name or 'norm/scale' in name:
      return rng.normal(1, 0.3, shape.shape).astype(np.float32)
    return rng.normal(0, 0.3, shape.shape).astype(np.float32)

  shapes = model.abstract_variables()['params']
  return jax.tree_util.tree_map_with_path(leaf, shapes)


def parameters_path(path):
  return '/'.join(key.key for key in path)


def collapsed(model, params, weights):
  """Model and parameters with fixed routers."""
  trained, base = parameters.split(params, parameters.TRAINABLE_ADAPTERS)
  network, plain = fixed_routers.collapse(
    model.module.config, parameters.unstack_layers(trained), weights
  )
  plain = parameters.like_network(plain, network.scan_layers)
  return (
    EncoderDecoderModel(Transformer(network)),
    parameters.merge(plain, base),
  )


def measured(model, params, batch):
  """Mean weights of every router over a batch."""
  statistics = jax.jit(model.routing_batch)(params, batch)
  return collapse.mean_weights({'all': usages(statistics)})


@pytest.mark.parametrize(
  'router, scan_layers', [('soft', False), ('top-2 as released', True)]
)
def test_a_constant_router_collapses_to_equal_logits(router, scan_layers):
  """With zero kernels the weights are those of every token."""
  model = tiny.model(mixtures(ROUTERS[router]), scan_layers, layers=1)
  params, batch = draw(model, kernel=0.0), tiny.batch()
  weights = measured(model, params, batch)
  for p in weights.values():
    np.testing.assert_allclose(p[p > 0], 1 / E, rtol=1e-6)
    assert np.count_nonzero(p) == (E if router == 'soft' else 2)
  plain, plain_params = collapsed(model, params, weights)
  routed = jax.jit(model.logits)(params, batch)
  assert np.abs(routed).max() > 0.1
  np.testing.assert_allclose(
    jax.jit(plain.logits)(plain_params, batch), routed, atol=1e-5, rtol=1e-5
  )
  assert not any('router' in x for x in parameters.flatten(plain_params))
  network = plain.module.config
  assert describe_method(from_json(to_json(network))) == describe_method(
    network
  )
  assert describe_method(network)['query'] == 'LoRA(rank=6, alpha=9.0)'


def test_formulas_are_those_of_one_token():
  """Fixed at a token's own weights, an expert is the mixture of that token."""
  rng = np.random.default_rng(1)
  site = adapters.Site('key', ('embed',), ('embed',))
  x, y = (jnp.asarray(rng.normal(size=(1, 1, 4)), 'f4') for _ in range(2))
  context = routing.Context()
  for name in ('key', 'query'):
    for router in ROUTERS.values():
      factory = mixtures(router)[name]
      mixture = factory(site=site, parent=None)
      variables = mixture.init(jax.random.key(0), x, y, context)
      params = jax.tree.map(
        lambda leaf: np.asarray(rng.normal(1, 1, leaf.shape), 'f4'),
        variables['params'],
      )
      wanted, sown = mixture.apply(
        {'params': params}, x, y, context, mutable=['routing']
      )
      place = f'encoder/layers_0/attention/{name}'
      network = dataclasses.replace(
        tiny.model({}).module.config, adapters={name: factory}
      )
      network, plain = fixed_routers.collapse(
        network,
        parameters.unflatten(
          {
            f'{place}_adapter/{path}': leaf
            for path, leaf in parameters.flatten(params).items()
          }
        ),
        {place: sown['routing']['router']['weight'][0]},
      )
      leaves = plain['encoder']['layers_0']['attention'][f'{name}_adapter']
      got = network.adapters[name](site=site, parent=None).apply(
        {'params': leaves}, x, y, context
      )
      np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  'standing, says',
  [
    ({'key': adapters.IA3}, 'Nothing is routed.*IA3 at key'),
    ({}, 'the adapters are none'),
  ],
)
def test_what_does_not_route_is_refused(standing, says):
  with pytest.raises(UserError, match=says):
    fixed_routers.check(tiny.model(standing).module.config)


def test_a_shared_decision_is_refused():
  shared = functools.partial(adapters.MoV, router=routing.SharedRouter)
  network = dataclasses.replace(
    tiny.model().module.config,
    adapters={'key': shared},
    decisions={'layer': routing.Decision},
  )
  with pytest.raises(UserError, match='share a decision cannot be collapsed'):
    fixed_routers.check(network)


def test_another_mixture_is_refused():
  class Mine(adapters.MoV):
    pass

  with pytest.raises(UserError, match='Mine at key cannot be collapsed'):
    fixed_routers.check(tiny.model({'key': Mine}).module.config)


def test_means_are_over_the_tokens_of_all_data_sets():
  few, many = (
    {'key': Usage(p, np.array(w), p, 0.0, tokens)}
    for p, w, tokens in (
      (np.zeros(2), [2.0, 0.0], 2.0),
      (np.ones(2), [0.0, 6.0], 6.0),
    )
  )
  means = collapse.mean_weights({'few': few, 'many': many})
  np.testing.assert_allclose(means['key'], [0.25, 0.75])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A run with the configuration of a command; its base."""
  tiny_run.add_suite()
  folder = tmp_path_factory.mktemp('collapse')
  base, run = tiny.save_base(folder / 'base'), folder / 'run'
  gin.clear_config()
  gin.add_config_file_search_path(gin_paths.folder())
  files = ('methods/molora.gin', 'routers/top_k.gin', 'runs/finetune.gin')
  for file in (str(TINY_GIN), *files):
    gin.parse_config_file(file)
  gin.parse_config(
    f"""
    INITIAL_CHECKPOINT_PATH = {base!r}
    MODEL_DIR = {str(run)!r}
    NUM_EXPERTS = 3
    RANK = 2
    SCAN_LAYERS = True
    """
  )
  run.mkdir()
  (run / run_folder.CONFIG).write_text(gin.config_str())
  model = run_folder.read_config(str(run))['model']
  params = draw(model, kernel=1.0)
  leaves, _ = parameters.split(params, parameters.TRAINABLE_ADAPTERS)
  checkpoints = Checkpoints(str(run))
  checkpoints.save(
    3,
    jax.tree.map(jnp.asarray, leaves),
    {'count': jnp.int32(3)},
    {},
    Description(
      describe_run(model.module.config, parameters.TRAINABLE_ADAPTERS),
      BaseInfo(base, parameters.fingerprint(tiny.base_params())),
    ),
  )
  checkpoints.close()
  return base, str(run)


def call(capsys, *argv):
  code = cli.guard(command.convert, ['x', *argv], None)
  return code, ''.join(capsys.readouterr())


def test_the_command_on_a_run(trained, tmp_path, capsys):
  base, run = trained
  capsys.readouterr()
  to = tmp_path / 'plain'
  argv = (
    'collapse',
    run,
    f'--to={to}',
    '--mixture=tiny_task',
    '--examples=8',
    '--evaluate=tiny_score_eval',
  )
  code, printed = call(capsys, *argv)
  assert code == 0, printed
  report = json.loads((to / collapse.REPORT).read_text())
  tree, said = exported.load(str(to))
  description = runs.describe(run)
  routers = {
    path.partition('_adapter/')[0]
    for path in description.tree
    if path.endswith('router/kernel')
  }
  assert report['weights'].keys() == routers
  for p in report['weights'].values():
    np.testing.assert_allclose(sum(p), 1, rtol=1e-5)
  assert said.method.sites.keys() == description.method.sites.keys()
  assert set(said.method.sites.values()) == {'LoRA(rank=6, alpha=48.0)'}
  assert 'tiny_task, train, 8 examples' in said.training['collapsed']
  assert said.training['run'] == run
  # Equal to an evaluation by hand, of the run and of the folder.
  accuracy = report['accuracy']
  for name in ('before', 'after'):
    outcome = json.loads((to / name / results.JSON).read_text())
    assert outcome['average'] == accuracy[name]
    assert outcome['checkpoint']['checkpoint'] == (
      run if name == 'before' else str(to)
    )
  numbers = [f'{accuracy[x]["median"]:.2f}' for x in ('before', 'after')]
  assert f'{numbers[0]} before, {numbers[1]} after' in printed
  assert f'{numbers[1]} (the routed mixture: {numbers[0]})' in (
    (to / exported.CARD).read_text()
  )
  # It serves as a run of plain LoRA, and PEFT has it.
  network = dataclasses.replace(
    run_folder.read_config(run)['model'].module.config,
    adapters=from_json(said.method.network).adapters,
  )
  model = EncoderDecoderModel(Transformer(network))
  ModelSource(model, str(to), base).load()
  theirs = tmp_path / 'theirs'
  code, printed = call(capsys, 'export_peft', str(to), f'--to={theirs}')
  assert code == 0 and 'give --base to name one' in printed
  again, _ = read(str(theirs), network)
  for path, leaf in parameters.flatten(tree).items():
    np.testing.assert_array_equal(again[path], leaf)
  code, printed = call(capsys, *argv)
  assert code == 2 and 'exists already' in printed


@pytest.mark.parametrize(
  'flags, says',
  [
    (['--evaluate=tiny_task'], 'tasks without answer choices'),
    (['--by_task'], '--by_task needs --evaluate'),
    (['--mixture=tiny_tusk'], "'tiny_task'"),
    (['--split=test'], "'test'"),
    (['--examples=0'], '--examples'),
    (['--step=99'], 'no checkpoint at step 99'),
  ],
)
def test_mistakes_end_with_code_2(trained, tmp_path, capsys, flags, says):
  code, printed = call(
    capsys, 'collapse', trained[1], f'--to={tmp_path / "x"}', *flags
  )
  assert code == 2 and says in printed
  assert not (tmp_path / 'x').exists()


def test_each_task_at_its_own_means(trained, tmp_path, capsys):
  _, run = trained
  to = tmp_path / 'plain'
  code, printed = call(
    capsys,
    *('collapse', run, f'--to={to}', '--mixture=tiny_task', '--examples=8'),
    *('--evaluate=tiny_score_eval', '--by_task'),
  )
  assert code == 0, printed
  report = json.loads((to / collapse.REPORT).read_text())
  tasks = seqio.get_mixture_or_task('tiny_score_eval').tasks
  assert {x.name for x in (to / 'by_task').iterdir()} == {x.name for x in tasks}
  # What is written for a task is its own mean, and what was evaluated.
  values, trees = [], []
  for task in tasks:
    folder = to / 'by_task' / task.name
    trees.append(parameters.flatten(exported.load(str(folder))[0]))
    outcome = json.loads((folder / 'eval' / results.JSON).read_text())
    values += [record['value'] for record in outcome['tasks']]
  path = next(path for path in trees[0] if path.endswith('/b'))
  assert np.abs(trees[0][path] - trees[-1][path]).max() > 0
  average = report['accuracy']['by_task']
  check(str(to), overwrite=True)  # None is a foreign folder.
  datasets = [values[:2], values[2:]]  # Two prompts, and three.
  want = np.mean([np.median(x) for x in datasets])
  assert average['median'] == pytest.approx(want)
  assert f'{want:.2f} with each task at its own means' in printed


def test_a_routed_run_is_not_exported_to_peft(trained, tmp_path, capsys):
  code, printed = call(
    capsys, 'export_peft', trained[1], f'--to={tmp_path / "x"}'
  )
  assert code == 2 and 'convert collapse RUN' in printed
