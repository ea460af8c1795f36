"""Folders of every kind that this package writes or reads, to damage them."""

import functools

import jax
import jax.numpy as jnp
import pytest
from etils import epath

from moe_lite.adapters import LoRA
from moe_lite.checkpoints import bases, exported, first_use, runs
from moe_lite.checkpoints.base_folder import save_base
from moe_lite.checkpoints.peft import folder as peft_folder
from moe_lite.checkpoints.peft import summary
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import (
  integrity,
  json_files,
  json_lines,
  json_text,
  parameters,
)
from moe_lite.evaluation import results, results_file
from moe_lite.t5.description import to_json
from moe_lite.training import run_folder
from tests import tiny, tiny_run
from tests.checkpoints.hugging_face import weights_test, written_files
from tests.checkpoints.peft import drawing
from tests.checkpoints.t5x import native_test, orbax_test
from tests.evaluation import outcomes


def read_base(path):
  said = bases.network(str(path)), bases.text(str(path))
  return bases.read(str(path)), repr(said)


def write_base(folder):
  network = to_json(tiny.model({}).module.config)
  said = {'network': network, 'text': {'inputs_eos': True}}
  save_base(str(folder), tiny.base_params(), said)


def write_file(folder):
  write_base(folder)
  (folder / 'metadata.json').unlink()


def read_file(folder):
  return read_base(folder / 'model.safetensors')


def write_hugging_face(folder):
  written_files.write(folder, written_files.state('1.1'))


def write_t5x(folder):
  folder.mkdir()
  native_test.save(folder)


def write_run(folder):
  _, run = tiny_run.write(folder)
  other = Checkpoints(run)
  tree, said = runs.restore_trainable(run)
  tree = jax.tree.map(lambda x: jnp.asarray(x) + 1, tree)
  other.save(9, tree, {'count': jnp.int32(9)}, {}, said)
  other.close()


def read_run(folder):
  """What evaluation reads, and what training reads."""
  path = str(folder / 'run')
  tree, said = runs.restore_trainable(path)
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=jnp.zeros(()).sharding
    ),
    (parameters.unflatten(parameters.flatten(tree)), {'count': jnp.int32(0)}),
  )
  checkpoints = Checkpoints(path)
  try:
    step = checkpoints.latest_step()
    trained, optimizer, _ = checkpoints.restore(step, *abstract)
  finally:
    checkpoints.close()
  leaves = parameters.flatten({'all': tree, 'again': trained, 'o': optimizer})
  # A checkpoint that is gone is not damaged: the one before it is the last.
  return leaves, (step, said.to_json())


def write_export(folder):
  _, run = tiny_run.write(folder.parent / 'of')
  exported.save(str(folder), *runs.restore_trainable(run), training={})


def read_export(folder):
  tree, said = exported.load(str(folder))
  return parameters.flatten(tree), said.to_json()


def write_peft(folder):
  network = drawing.network({'query': functools.partial(LoRA, rank=2)})
  peft_folder.write(str(folder), drawing.draw(network), network)


def read_peft(folder):
  """What `import_peft` reads."""
  kind, leaves, facts = summary.summary(str(folder))
  says = summary.FORMAT.says(str(folder))
  first_use.check(str(folder), parameters.fingerprint(leaves), says)
  return leaves, (kind, facts)


def write_results(folder):
  folder.mkdir()
  content = integrity.seal(results_file.to_json(outcomes.whole()))
  (folder / results.JSON).write_text(results_file.text(content))


def read_results(folder):
  found = results_file.read(epath.Path(folder) / results.JSON)
  return {}, results_file.to_json(found)


def write_flax(folder):
  written_files.write_config(folder)
  leaves = written_files.state('1.1')
  weights_test.save_flax(folder / 'flax_model.msgpack', leaves)


def write_torch(folder):
  torch = pytest.importorskip('torch')
  written_files.write_config(folder)
  leaves = written_files.state('1.1')
  leaves = {name: torch.asarray(x.copy()) for name, x in leaves.items()}
  torch.save(leaves, folder / 'pytorch_model.bin')


def write_orbax(folder):
  folder.mkdir()
  orbax_test.write_by_orbax(folder, use_ocdbt=True)


def write_lines(folder):
  """`metrics.jsonl`, as training writes it, and as `predictions.jsonl` is."""
  folder.mkdir()
  lines = json_lines.Lines(folder / run_folder.METRICS, 0)
  for step in range(9):
    lines.append([json_text.dumps({'step': step, 'loss': 1 / (step + 1)})])


def read_lines(folder):
  return {}, json_lines.read(folder / run_folder.METRICS)


SAID = {'seed': 0, 'step_bytes': 1234, 'base': {'source': 'x'}, 'mesh': [1]}


def write_sealed(folder):
  """`run.json`; `grid.json` and `infer.json` are written likewise."""
  folder.mkdir()
  json_files.write(folder / run_folder.RUN, SAID)


def read_sealed(folder):
  said = json_files.read(folder / run_folder.RUN)
  return {}, {name: said.get(name) for name in SAID}


# Of a run, only the last checkpoint is damaged, because only that is read.
LAST = 'run/checkpoints/9'
# How a folder is written, how it is read, and how often it is damaged.
KINDS = {
  'base': (write_base, read_base, 80),
  'file': (write_file, read_file, 40),
  'hugging face': (write_hugging_face, read_base, 80),
  'flax': (write_flax, read_base, 40),
  'torch': (write_torch, read_base, 80),
  't5x': (write_t5x, read_base, 50),
  'orbax': (write_orbax, read_base, 12),
  'export': (write_export, read_export, 80),
  'peft': (write_peft, read_peft, 50),
  'run': (write_run, read_run, 30),
  'results': (write_results, read_results, 80),
  'lines': (write_lines, read_lines, 80),
  'sealed': (write_sealed, read_sealed, 80),
}
