"""Whatever is damaged is refused by name, or has not changed what is read.

Every kind of folder with parameters is damaged in seeded ways, over and over.
Reading it either ends with a message for the user, or gives what was written.
"""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from moe_lite.adapters import LoRA
from moe_lite.checkpoints import bases, exported, first_use, runs
from moe_lite.checkpoints.base_folder import save_base
from moe_lite.checkpoints.peft import folder as peft_folder
from moe_lite.checkpoints.peft import summary
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import integrity, parameters
from moe_lite.core.errors import UserError
from moe_lite.evaluation import results, results_file
from moe_lite.t5.description import to_json
from tests import mutating, tiny, tiny_run
from tests.checkpoints.hugging_face import written_files
from tests.checkpoints.peft import drawing
from tests.checkpoints.t5x import native_test
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


LAST = 'run/checkpoints/9'
KINDS = {
  'base': (write_base, read_base, 80),
  'file': (write_file, read_file, 40),
  'hugging face': (write_hugging_face, read_base, 80),
  't5x': (write_t5x, read_base, 50),
  'export': (write_export, read_export, 80),
  'peft': (write_peft, read_peft, 50),
  'run': (write_run, read_run, 30),
  'results': (write_results, read_results, 80),
}


def equal(one, other):
  return (
    json.dumps(one[1], default=repr) == json.dumps(other[1], default=repr)
    and one[0].keys() == other[0].keys()
    and all(
      np.asarray(x).dtype == np.asarray(other[0][name]).dtype
      and np.array_equal(x, other[0][name])
      for name, x in one[0].items()
    )
  )


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_damaged_is_read_as_if_it_were_whole(kind, tmp_path):
  write, read, times = KINDS[kind]
  whole, folder = tmp_path / 'whole', tmp_path / 'folder'
  write(folder)
  expected = read(folder)
  shutil.copytree(folder, whole)
  silent, refused = [], 0
  for seed in range(times):
    random = mutating.seeded(seed)
    mutate = mutating.ALL[seed % len(mutating.ALL)]
    shutil.rmtree(folder)
    shutil.copytree(whole, folder)
    # Of a run, only the last checkpoint is read.
    mutate(folder / LAST if kind == 'run' else folder, random)
    try:
      found = read(folder)
    except UserError as error:
      refused += 1
      assert str(error).strip()
      continue
    except Exception as error:  # What the user would see is a traceback.
      silent.append((seed, mutate.__name__, repr(error)))
      continue
    if not equal(expected, found):
      silent.append((seed, mutate.__name__))
  assert not silent
  assert refused > times / 6
