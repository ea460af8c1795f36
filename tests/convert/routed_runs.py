"""A run of MoLoRA with the configuration of a command, on disk."""

import dataclasses

import gin
import jax
import jax.numpy as jnp

from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import parameters
from moe_lite.process import gin_paths
from moe_lite.t5.description import describe_run
from moe_lite.training import configuration, run_folder
from tests import tiny
from tests.convert.mixtures import draw
from tests.paths import TINY_GIN


def write(folder):
  """Writes a base and a run of random parameters; returns their paths."""
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
  config = str(run / run_folder.CONFIG)
  bound = configuration.read_config(str(run), [config])
  model = bound['model']
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
      data=dataclasses.asdict(bound['dataset']),
    ),
  )
  checkpoints.close()
  return base, str(run)
