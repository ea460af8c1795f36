"""Converts between forms of parameters on disk.

  python -m moe_lite.convert inspect PATH

prints what a base, a run, exported adapters, a T5X checkpoint, a model of
Hugging Face's or a folder of PEFT's holds.

  python -m moe_lite.convert export_base RUN_OR_BASE --to=DIR
      [--dtype=bfloat16] [--step=N]

makes a base of a run that trained every parameter, such as one of
gin/runs/pretrain.gin, or of another form of a base, in the types it is held in
or in one; `--gin.INITIAL_CHECKPOINT_PATH="'DIR'"` then names it.

  python -m moe_lite.convert export RUN --to=DIR [--step=N]

writes what a run trained as a small folder to hand on: safetensors, a
description with the base's fingerprint, the vocabulary, and a model card.
CHECKPOINT_PATH and `moe_lite.load` take it as it is;

  python -m moe_lite.convert import DIR --to=RUN

makes a run folder of it again, bit for bit.

  python -m moe_lite.convert export_t5x RUN_OR_BASE --to=DIR/checkpoint_STEP
      [--dtype=bfloat16] [--step=N] [--scan_layers]

writes what a run trained as a T5X checkpoint, which t5x/eval.gin and
t5x/infer.gin read onto the base, or a base; --scan_layers for a network that
scans.

  python -m moe_lite.convert export_hf RUN_OR_BASE --to=DIR [--dtype=bfloat16]
      [--step=N]

writes a base, or a run that trained every parameter, as a folder that
transformers' T5ForConditionalGeneration.from_pretrained loads, in the types it
is held in or in one. There is no tokenizer in it. A base without a config.json
is taken for T5's: GELU where its hidden layer is gated, ReLU where it is not.

  python -m moe_lite.convert export_peft RUN_OR_EXPORTED --to=DIR [--step=N]
      [--base=NAME_OR_PATH]

writes IA3 or LoRA as a folder that peft.PeftModel.from_pretrained loads onto
the model --base of Hugging Face's, by default the base of the run;

  python -m moe_lite.convert import_peft DIR --to=DIR --base=PATH_OR_ADDRESS

makes exported adapters of such a folder, on that base: a folder of Hugging
Face's or hf://ORGANISATION/NAME.

  python -m moe_lite.convert collapse RUN --to=DIR [--step=N]
      [--mixture=NAME,NAME] [--split=train] [--examples=64]
      [--evaluate=NAME_score_eval] [--evaluate_split=validation] [--by_task]
      [--seqio_additional_cache_dirs=DIR,DIR]

fixes the routers of a run at their mean weights over N examples of every task
of a mixture (that of its training by default), which makes IA3 of MoV and LoRA
of MoLoRA, and writes exported adapters and the weights, collapse.json. With
--evaluate it measures the accuracy of the run and of what it writes; with
--by_task also where each task of that mixture has routers fixed at its own
means, an oracle that knows the task and no token (DIR/by_task).

What stands at --to is replaced with --overwrite alone.
"""

from collections.abc import Sequence

from moe_lite.checkpoints import inspection
from moe_lite.convert import (
  adapter_verbs,
  base_verbs,
  collapse,
  peft_verbs,
)
from moe_lite.core.errors import UserError, nearest
from moe_lite.process import cli


def inspect(argv: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  if len(argv) != 1:
    raise UserError('Give one path. See --help.')
  print(inspection.text(argv[0], inspection.inspect(argv[0])))


VERBS = {
  'inspect': inspect,
  'export': adapter_verbs.export,
  'import': adapter_verbs.import_,
  'export_base': base_verbs.export_base,
  'export_t5x': base_verbs.export_t5x,
  'export_hf': base_verbs.export_hf,
  'export_peft': peft_verbs.export_peft,
  'import_peft': peft_verbs.import_peft,
  'collapse': collapse.collapse,
}


def convert(argv: Sequence[str]) -> None:
  """Runs the verb that the command line names."""
  verb = argv[1] if len(argv) > 1 else ''
  if verb not in VERBS:
    raise UserError(
      f'{verb!r} is no conversion; there is {", ".join(VERBS)}.'
      f'{nearest(verb, VERBS)} See --help.'
    )
  VERBS[verb](argv[2:])


def main(argv: Sequence[str]) -> int:
  """Runs the command, and returns its exit code."""
  return cli.guard(convert, argv, __doc__)
