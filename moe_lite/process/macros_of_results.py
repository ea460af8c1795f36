"""The macros of evaluations, predictions and sweeps."""

from moe_lite.process.macro_kinds import (
  Either,
  Function,
  Macro,
  Number,
  OneOf,
  Optional,
  Several,
  Table,
  Text,
  Whole,
  YesNo,
)

_WEIGHT = Number(least=0)
_FILES = Either(
  (
    Text('a gin file'),
    Several(
      Either((Text('a gin file'), Table("{'NAME': 5}"))),
      "['data/mini.gin', {'BATCH_SIZE': 8}]",
    ),
  )
)
_BINDINGS = Table("{'KEEP': 1}")

RESULTS: tuple[Macro, ...] = (
  Macro(
    'CHECKPOINT_PATH',
    'eval, infer',
    Text('a path'),
    "a `MODEL_DIR`, a folder of `convert export`, or `'base'` for the frozen "
    'base alone',
  ),
  Macro(
    'CHECKPOINT_STEP',
    'eval, infer',
    Optional(Either((Whole(), OneOf(('all',))))),
    "the step of the checkpoint; None takes the last; 'all', in eval, takes "
    'each, in a folder of its own',
  ),
  Macro(
    'EVAL_OUTPUT_DIR', 'eval', Text('a folder'), 'the folder of the results'
  ),
  Macro(
    'EVAL_SPLIT',
    'eval, finetune',
    Text('the name of a split'),
    'the split of every task',
  ),
  Macro(
    'NUM_EXAMPLES',
    'eval',
    Optional(Whole(1)),
    'how many examples of each task are measured; None takes all',
  ),
  Macro(
    'LENGTH_NORMALIZED',
    'eval',
    YesNo(),
    'whether to rank choices by their log-probability for each token',
  ),
  Macro(
    'AXES',
    'suites',
    Table("{'NUM_EXPERTS': [5, 10]}"),
    'what varies: a list of values, or a dict from labels to files and '
    'bindings, for each axis',
  ),
  Macro('METHOD', 'ablations/rate', _FILES, 'the method of the rates'),
  Macro(
    'RATES',
    'ablations/rate',
    Several(Number(above=0), '[0.01, 0.03]'),
    'the rates that are compared',
  ),
  Macro(
    'FIRST_STAGE',
    'ablations/temperature',
    Text('a folder'),
    "the first stage's runs that the grown mixtures begin from, with "
    "'{SEED}' in place of the seed",
  ),
  Macro(
    'EXPERTS',
    'ablations/library, ablations/library_gates',
    Text('a folder'),
    "the runs of ablations/library_experts.gin, with '{SEED}' in place of the "
    'seed',
  ),
  Macro(
    'GATES',
    'ablations/library',
    Text('a folder'),
    "the runs of ablations/library_gates.gin, with '{SEED}' in place of the "
    'seed',
  ),
  Macro('SEEDS', 'suites', Several(Whole(), '[0, 1]'), 'each seed is a run'),
  Macro(
    'LEARNING_RATES',
    'suites',
    Several(Number(above=0), '[0.01, 0.03]'),
    'the rates that are searched',
  ),
  Macro('TRAIN_DATA', 'suites', _FILES, 'the data of every training'),
  Macro('EVAL_DATA', 'suites', _FILES, 'the data of the table'),
  Macro('VALIDATION_DATA', 'suites', _FILES, 'the data of the search'),
  Macro(
    'TRAIN_BINDINGS', 'suites', _BINDINGS, 'other bindings of every training'
  ),
  Macro(
    'EVAL_BINDINGS', 'suites', _BINDINGS, 'other bindings of every evaluation'
  ),
  Macro(
    'MODEL',
    'suites, t5x',
    Either(
      (
        _FILES,
        Function(('integration.EncoderDecoderModel',), is_called=True),
      )
    ),
    "the gin files and bindings of every run; in `t5x/` T5X's model",
  ),
  Macro(
    'INFER_OUTPUT_DIR', 'infer', Text('a folder'), 'the folder of predictions'
  ),
  Macro(
    'INFER_INPUT',
    'infer',
    Optional(Text('a file')),
    "a file of inputs; None takes the task's rows",
  ),
  Macro(
    'INFER_SPLIT', 'infer', Text('the name of a split'), 'the split of the task'
  ),
  Macro(
    'INFER_MODE',
    'infer, t5x/infer',
    OneOf(('predict', 'predict_with_aux', 'score')),
    'texts, texts with their scores, or the scores of targets',
  ),
  Macro(
    'NUM_SHARDS',
    'infer, t5x/infer',
    Whole(1),
    'how many commands share the inputs',
  ),
  Macro(
    'SHARD_ID',
    'infer, t5x/infer',
    Whole(),
    'which of these commands this one is, from 0',
  ),
  Macro(
    'EVAL_MIXTURE',
    'finetune',
    Optional(Text('a task or mixture')),
    'what is measured while a run trains; None measures nothing',
  ),
  Macro(
    'EVAL_PERIOD',
    'finetune, t5x/validation',
    Whole(1),
    'the steps between two validations of a run that trains',
  ),
  Macro(
    'EVAL_EXAMPLES',
    'finetune',
    Optional(Whole(1)),
    'how many examples of each task a validation measures; None takes all',
  ),
  Macro(
    'BEST_BY',
    'finetune',
    Optional(OneOf(('accuracy', 'loss'))),
    'the metric of validation by which the best checkpoint is kept',
  ),
  Macro(
    'CHOOSE_BY_HELD_OUT',
    'finetune',
    YesNo(),
    'whether data sets that are held out may choose the best checkpoint',
  ),
  Macro(
    'PATIENCE',
    'finetune',
    Optional(Whole(1)),
    'after how many validations that were not better a run ends',
  ),
  Macro(
    'EVAL_STEPS',
    't5x/validation',
    Whole(1),
    'the batches of which such an evaluation takes the mean loss',
  ),
  Macro(
    'VALIDATION_MIXTURE',
    't5x/validation',
    Text('a task or mixture'),
    'what such an evaluation measures',
  ),
  Macro(
    'DECODER',
    'eval, infer',
    Function(('decoding.greedy', 'decoding.sample', 'decoding.beam_search')),
    'how text is generated',
  ),
  Macro(
    'NUM_DECODES',
    'eval, infer',
    Whole(1),
    'the beams of a search, or the draws',
  ),
  Macro(
    'LENGTH_PENALTY', 'infer', _WEIGHT, 'how much a search favours long texts'
  ),
  Macro('TEMPERATURE', 'infer', Number(above=0), 'that of draws'),
  Macro(
    'SAMPLE_TOP_K',
    'infer',
    Whole(),
    'draws among this many of the likeliest tokens; 0 means all',
  ),
  Macro(
    'SAMPLE_TOP_P',
    'infer',
    Number(above=0, most=1),
    'draws among the likeliest tokens up to this probability',
  ),
)
