"""Converts parameters on disk from one form to another, or shows what they are.

  python -m moe_lite.convert inspect PATH [--verify] [--accept]
      [--allow_nonfinite]

prints what lies at a path: a base, a run, exported adapters, a T5X checkpoint,
a model of Hugging Face's, or a folder of PEFT's. It reads every leaf. What this
package wrote is compared with the hashes that were saved with it. --verify also
compares a base that others wrote with what it was at its first use; --accept
takes a base that was replaced since then. NaN and infinity are an error, unless
--allow_nonfinite is given, which names the leaves that hold them.

  python -m moe_lite.convert export_base RUN_OR_BASE --to=DIR
      [--dtype=bfloat16] [--step=N]

writes a base. It is made of a run that trained every parameter, such as one of
gin/runs/pretrain.gin, or of a base in any other form. Leaves keep their types,
unless --dtype names one. Afterwards `--gin.INITIAL_CHECKPOINT_PATH="'DIR'"`
names the base.

  python -m moe_lite.convert export RUN --to=DIR [--step=N]
      [--license=NAME] [--evaluations=DIR,DIR]

writes what a run trained as a small folder to hand on: the parameters in
safetensors, a description with the fingerprint of the base, the vocabulary, and
a model card. CHECKPOINT_PATH and `moe_lite.load` take such a folder as it is.
The card names the licence, by an identifier of Hugging Face's hub such as
apache-2.0. It has the accuracies of the evaluations that lie in the folder of
the run, and of those in --evaluations. An evaluation of the base stands beside
those that measured the same. The card also says what the report of the routing
found, if that lies in the folder of the run.

  python -m moe_lite.convert import DIR --to=RUN

makes a run folder of such a folder again, bit for bit.

  python -m moe_lite.convert export_t5x RUN_OR_BASE --to=DIR/checkpoint_STEP
      [--dtype=bfloat16] [--step=N] [--scan_layers]

writes what a run trained, or a base, as a T5X checkpoint. t5x/eval.gin and
t5x/infer.gin load what a run trained, and the base below it. Give --scan_layers
for a network that scans over its layers.

  python -m moe_lite.convert export_hf RUN_OR_BASE --to=DIR [--dtype=bfloat16]
      [--step=N]

writes a base, or a run that trained every parameter, as a folder that
transformers' T5ForConditionalGeneration.from_pretrained loads. Leaves keep
their types, unless --dtype names one. The folder has no tokenizer. If the base
does not say which network it is of, it is taken for a T5: GELU where its hidden
layer is gated, ReLU where it is not.

  python -m moe_lite.convert export_peft RUN_OR_EXPORTED --to=DIR [--step=N]
      [--base=NAME_OR_PATH]

writes IA3 or LoRA as a folder that peft.PeftModel.from_pretrained loads. --base
names the model of Hugging Face's that it loads them onto; without it, that is
the base of the run.

  python -m moe_lite.convert import_peft DIR --to=DIR --base=PATH_OR_ADDRESS

makes exported adapters of a folder of PEFT's. --base is the model that they
stand on: a folder of Hugging Face's, or hf://ORGANISATION/NAME.

  python -m moe_lite.convert collapse RUN --to=DIR [--step=N]
      [--mixture=NAME,NAME] [--split=train] [--examples=64]
      [--evaluate=NAME_score_eval] [--evaluate_split=validation] [--by_task]
      [--seqio_additional_cache_dirs=DIR,DIR]

fixes the routers of a run at their mean weights, which makes IA3 of MoV, and
LoRA of MoLoRA. It writes exported adapters, and the weights in collapse.json.
The means are taken over N examples of every task of a mixture, by default the
one that the run was trained on. With --evaluate it measures the accuracy of the
run and of what it writes. With --by_task it also measures an oracle that knows
the task and ignores the tokens: for each task the routers are fixed at their
means over that task. What that writes is in DIR/by_task.

Nothing that stands at --to is replaced, unless --overwrite is given.

Everything is read from JSON. Gin files are programs, so the config.gin of a run
is not evaluated. If a run does not say enough by itself, or was trained on
tasks or with adapters of your own, name its configuration:
--gin_file=RUN/config.gin. Do so only if you trust it.
"""

import contextlib
from collections.abc import Sequence

from absl import flags

from moe_lite.checkpoints import inspection
from moe_lite.convert import (
  adapter_verbs,
  base_verbs,
  collapse,
  peft_verbs,
)
from moe_lite.core import integrity
from moe_lite.process import arguments, cli


def inspect(argv: Sequence[str]) -> None:
  """Runs `inspect`; see the module. Raises UserError for a mistake."""
  values = flags.FlagValues()
  for name in ('verify', 'accept', 'allow_nonfinite'):
    arguments.add(values, flags.DEFINE_bool, name, False)
  (path,) = arguments.parse('inspect', argv, values, 'Give one path.')
  allowing = (
    integrity.allowing_nonfinite()
    if values.allow_nonfinite
    else contextlib.nullcontext()
  )
  with allowing:
    found = inspection.inspect(path)
    print(inspection.text(path, found))
    if values.verify or values.accept:
      verdict = inspection.verify(path, found, values.accept)
      print(f'  verified: {verdict}')


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
  arguments.run_verb(VERBS, argv, 'a conversion')


def main(argv: Sequence[str]) -> int:
  """Runs the command, and returns its exit code."""
  return cli.guard(convert, argv, __doc__)
