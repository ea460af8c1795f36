"""The verbs `export_peft` and `import_peft`."""

import dataclasses
from collections.abc import Sequence

from absl import flags

from moe_lite.checkpoints import bases, exported, first_use, formats
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.hugging_face import config, hub, model
from moe_lite.checkpoints.peft.folder import read, write
from moe_lite.checkpoints.peft.summary import FORMAT, summary
from moe_lite.convert import base_verbs
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.evaluation import exporting
from moe_lite.inference.vocabulary import model_in
from moe_lite.process import arguments
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import describe_run


def export_peft(argv: Sequence[str]) -> None:
  """Runs `export_peft`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  arguments.add(values, flags.DEFINE_string, 'base')
  arguments.of_run(values)
  source = arguments.one_path('export_peft', argv, values)
  trained, description = exporting.read(source, values.step, values.gin_file)
  network = exporting.network_of(description)
  name, revision = _base(values.base, description, network)
  write(
    values.to,
    parameters.flatten(trained),
    network,
    name,
    revision,
    values.overwrite,
  )
  say(
    f'Wrote {values.to}: {parameters.count(trained):,} parameters for '
    f'{name or "a base that it does not name"}.'
  )
  if name is None:
    say(
      f"The run's base, {description.base.source}, is not a model of "
      "Hugging Face's: give --base to name one, such as what `export_hf` makes "
      'of it.'
    )


def import_peft(argv: Sequence[str]) -> None:
  """Runs `import_peft`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  arguments.add(values, flags.DEFINE_string, 'base')
  folder = arguments.one_path('import_peft', argv, values)
  if not values.base:
    raise UserError(
      'Give --base=PATH, the model that the adapters stand on: a folder of '
      f"Hugging Face's, or one of its hub, {hub.PREFIX}"
      'ORGANISATION/NAME.'
    )
  kind, leaves, facts = summary(folder)
  first_use.check(folder, parameters.fingerprint(leaves), FORMAT.says(folder))
  source = formats.local(values.base)
  network = base_verbs.network_of(source)
  trained, standing = read(folder, network)
  network = dataclasses.replace(network, adapters=standing)
  fingerprint = bases.fingerprint(source)
  description = Description(
    describe_run(network, parameters.TRAINABLE_ADAPTERS),
    BaseInfo(values.base, fingerprint),
  )
  training = {
    'imported from': f"{folder}, {kind} of PEFT's",
    'trained on the base': facts.get('base_model_name_or_path', 'not named'),
  }
  exported.save(
    values.to,
    parameters.unflatten(trained),
    description,
    training,
    model_in(source),
    bases.text(source),
    values.overwrite,
  )
  standing_there = ', '.join(
    f'{what} at {site}' for site, what in description.method.sites.items()
  )
  say(
    f'Wrote {values.to}: {parameters.count(list(trained.values())):,} '
    f'parameters, {standing_there}.'
  )


def _base(
  given: str | None, description: Description, network: T5Config
) -> tuple[str | None, str | None]:
  """Finds the model of Hugging Face's that adapters stand on.

  Args:
    given: what the user named; None takes the base of the run.
    description: what the adapters say of themselves.
    network: their network.

  Returns:
    The name or path of the model, and its revision if one is given. Both are
    None if the base of the run is not such a model.
  """
  named = given or description.base.source
  if hub.is_address(named):
    return hub.parse(named)
  if model.is_checkpoint(named):
    config.check(named, network)
    trained_on = description.base.fingerprint
    if bases.fingerprint(named) != trained_on:
      say(
        f'{named} is not, bit for bit, the base that they were trained on '
        f'(fingerprint {trained_on}): outputs will differ, little if it is '
        'the same base in another type.'
      )
  elif given is None:
    return None, None
  return named, None
