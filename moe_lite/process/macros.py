"""The table of macros: what each may be, and what it means.

The check of a command's macros, the table in gin/README.md and the help of the
commands come from here.
"""

import dataclasses

from moe_lite.process.macro_kinds import (
  Either,
  Function,
  Kind,
  Number,
  OneOf,
  Optional,
  Pair,
  Pattern,
  Several,
  Table,
  Text,
  Whole,
  YesNo,
)


@dataclasses.dataclass(frozen=True)
class Macro:
  """A macro.

  Attributes:
    name: its name.
    of: the gin files that use it.
    kind: what it may be.
    meaning: what it means, in Markdown.
  """

  name: str
  of: str
  kind: Kind
  meaning: str


_SHARE = Number(least=0, below=1)
_WEIGHT = Number(least=0)
_ROUTERS = Function(
  (
    *('routing.SoftRouter', 'routing.TopKRouter', 'routing.HashRouter'),
    *('routing.UniformRouter', 'routing.SharedRouter'),
  )
)
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
_FACTORS = (
  *('NUM_REAL_TARGET_TOKENS', 'NUM_TOTAL_TARGET_TOKENS'),
  'AVERAGE_PER_SEQUENCE',
)

TABLE: tuple[Macro, ...] = (
  Macro(
    'INITIAL_CHECKPOINT_PATH',
    'model',
    Optional(Text('a path, an address, or the name of a base')),
    'the frozen base: a folder of `convert export_base`, a T5X checkpoint, a '
    'folder in the format of Hugging Face, a model of its hub as '
    "`'hf://organisation/name@revision'`, or `'mini'`; see below",
  ),
  Macro(
    'ACTIVATION_DTYPE',
    'model',
    OneOf(('bfloat16', 'float32')),
    'the type of activations',
  ),
  Macro(
    'DROPOUT_RATE',
    'model',
    _SHARE,
    "0.0, as in the paper's training of adapters",
  ),
  Macro(
    'SCAN_LAYERS',
    'model',
    YesNo(),
    'whether to compile one layer and scan over the stack; checkpoints are the '
    'same either way',
  ),
  Macro(
    'REMAT',
    'model',
    OneOf(('none', 'minimal', 'full')),
    "what the backward pass recomputes: nothing, all but named matmuls' "
    'outputs, or everything',
  ),
  Macro(
    'NETWORK',
    'model',
    Function(('t5.Transformer',), is_called=True),
    'the network',
  ),
  Macro(
    'ADAPTERS',
    'method',
    Table("{'key': @adapters.MoV}", Function(('adapters.MoV',))),
    'site → adapter; empty for full fine-tuning',
  ),
  Macro(
    'TRAINABLE',
    'method',
    Pattern(),
    'the parameters whose paths match it train',
  ),
  Macro(
    'NUM_EXPERTS', 'mov, molora', Whole(1), 'the number of experts at each site'
  ),
  Macro('RANK', 'lora, molora', Whole(1), 'the rank of the updates'),
  Macro(
    'ALPHA',
    'lora, molora',
    Number(above=0),
    'updates are scaled by `ALPHA / RANK`',
  ),
  Macro(
    'ROUTER', 'routers', _ROUTERS, 'what routes the experts of MoV and MoLoRA'
  ),
  Macro('TOP_K', 'top_k', Whole(1), 'how many experts a token keeps'),
  Macro(
    'RENORMALIZE',
    'top_k',
    YesNo(),
    'whether the weights of the kept experts are scaled to sum to one again',
  ),
  Macro(
    'SENTENCE',
    'soft, top_k, sentence',
    Optional(OneOf(('inputs', 'encoded', 'feature'))),
    'routes each example once, by its input; None routes each token. For a '
    'top-k router give this macro, and not both files',
  ),
  Macro(
    'SENTENCE_SIZE',
    'soft, top_k, sentence',
    Optional(Whole(1)),
    "the size of the vector that `SENTENCE = 'feature'` reads",
  ),
  Macro(
    'ROUTER_TEMPERATURE',
    'soft, top_k, sentence',
    Number(above=0),
    "what routers' logits are divided by; see the "
    '[routers](../moe_lite/adapters/README.md#routers)',
  ),
  Macro(
    'JITTER',
    'soft, top_k, sentence',
    _SHARE,
    'the noise on what routers read, in training',
  ),
  Macro(
    'ROUTER_DROPOUT',
    'soft, top_k, sentence',
    _SHARE,
    'the dropout of what routers read',
  ),
  Macro(
    'EXPERT_DROPOUT',
    'soft, top_k, sentence',
    _SHARE,
    'the share of experts that a token loses in training',
  ),
  Macro(
    'DECISIONS',
    'shared',
    Table("{'layer': @routing.Decision}", Function(('routing.Decision',))),
    'the places where one decision serves all adapters',
  ),
  Macro('SHARED_ROUTER', 'shared', _ROUTERS, 'the router that decides there'),
  Macro('HASH_SEED', 'hash', Whole(), 'decides which ids go to which expert'),
  Macro(
    'MIXTURE_OR_TASK_NAME',
    'data',
    Text('the name of a task or mixture'),
    'the name of a registered SeqIO task or mixture',
  ),
  Macro(
    'TASK_FEATURE_LENGTHS',
    'data',
    Table(
      "{'inputs': 128, 'targets': 32}",
      Whole(1),
      needed=('inputs', 'targets'),
      others=('inputs_embedding',),
    ),
    'the greatest lengths of inputs and targets, in tokens',
  ),
  Macro(
    'P3_DIR',
    'p3, t0_train, t0_eval',
    Optional(Text('a folder')),
    'a folder with P3, for `t5x.eval` and `t5x.infer`, which lack the flag '
    '`--seqio_additional_cache_dirs`',
  ),
  Macro(
    'P3_VOCABULARY',
    'p3, t0_train, t0_eval',
    Optional(Text('a SentencePiece model')),
    "what to tokenize P3's text with; None takes P3's own ids, which are T5's",
  ),
  Macro(
    'P3_EXTRA_IDS',
    'p3, t0_train, t0_eval',
    Whole(),
    'the number of sentinels beyond the pieces of `P3_VOCABULARY`',
  ),
  Macro('MODEL_DIR', 'finetune', Text('a folder'), 'the run folder'),
  Macro(
    'TRAIN_STEPS',
    'finetune',
    Whole(1),
    'the steps of training, without those of the base',
  ),
  Macro(
    'BATCH_SIZE',
    'finetune, eval, infer',
    Whole(1),
    'the rows of a step, over all processes',
  ),
  Macro(
    'MICROBATCHES',
    'finetune',
    Whole(1),
    'the number of parts in which a step works through its rows',
  ),
  Macro(
    'OPTIMIZER',
    'finetune',
    Function(('optimizers.adafactor', 'optimizers.adamw')),
    "the optimizer; Adafactor's rate is relative to each parameter's size",
  ),
  Macro(
    'SCHEDULE',
    'finetune',
    Function(
      (
        *('optimizers.constant', 'optimizers.inverse_square_root'),
        'optimizers.linear_warmup_inverse_square_root',
      ),
      is_called=True,
    ),
    'the learning rate of each step',
  ),
  Macro(
    'LEARNING_RATE', 'finetune', Number(above=0), 'the rate of the schedule'
  ),
  Macro(
    'WARMUP_STEPS', 'finetune', Whole(), 'the steps over which the rate grows'
  ),
  Macro(
    'LOSS_NORMALIZING_FACTOR',
    'finetune',
    Optional(Either((OneOf(_FACTORS), Number(above=0)))),
    'what the loss is divided by',
  ),
  Macro('PACKING', 'finetune', YesNo(), 'whether a row holds several examples'),
  Macro(
    'LOAD_BALANCE',
    'finetune, t5x/finetune',
    _WEIGHT,
    'the weight of the load balance, which is a mean over tokens and routers; '
    'with 0 it is not computed',
  ),
  Macro(
    'ROUTER_Z_LOSS',
    'finetune, t5x/finetune',
    _WEIGHT,
    "the weight of the loss that keeps routers' logits small",
  ),
  Macro(
    'ENTROPY_BONUS',
    'finetune, t5x/finetune',
    _WEIGHT,
    "the weight of the entropy of routers' weights, which is subtracted",
  ),
  Macro(
    'ROUTING_METRICS',
    'finetune',
    YesNo(),
    'whether to record how experts are used: a line for every router in '
    '`routing.jsonl`, sums in `metrics.jsonl` and TensorBoard, and a warning '
    'if a router collapses',
  ),
  Macro(
    'LOG_PERIOD', 'finetune', Whole(1), 'the steps between two lines of the log'
  ),
  Macro(
    'SAVE_PERIOD', 'finetune', Whole(1), 'the steps between two checkpoints'
  ),
  Macro(
    'KEEP',
    'finetune',
    Optional(Whole(1)),
    'how many checkpoints stay; None keeps all',
  ),
  Macro(
    'ALLOW_CHANGES',
    'finetune',
    YesNo(),
    'whether a run may go on with other data or another schedule than it had',
  ),
  Macro(
    'SAVE_DATA_POSITION',
    'finetune',
    YesNo(),
    'whether checkpoints hold the position in the data',
  ),
  Macro(
    'DATA_SHARDS',
    'finetune',
    Optional(Whole(1)),
    'the number of independent streams that a batch is made of. The data '
    'depend only on it and on `SEED`, whatever the mesh and the number of '
    'processes. None takes one stream for each process when a run begins; a '
    'resumed run keeps its number',
  ),
  Macro(
    'BASE_DTYPE',
    'all runs',
    OneOf(('bfloat16', 'float32', 'int8')),
    "the type of the frozen base; `'int8'` has a scale for each output channel",
  ),
  Macro(
    'MESH',
    'all runs',
    Optional(Either((Pair(), OneOf(('auto',))))),
    '`(data, model)`, None for all devices on data, or the first mesh that '
    'fits',
  ),
  Macro(
    'FULLY_SHARDED',
    'all runs',
    YesNo(),
    'whether to split the base also over data',
  ),
  Macro('SEED', 'all runs', Whole(), 'the seed of everything random'),
  Macro(
    'USE_CACHED_TASKS',
    'all runs',
    YesNo(),
    'whether to read the caches that `seqio_cache_tasks` or `tasks.cache` '
    'wrote',
  ),
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
    Optional(Whole()),
    'the step of the checkpoint; None takes the last',
  ),
  Macro(
    'EVAL_OUTPUT_DIR', 'eval', Text('a folder'), 'the folder of the results'
  ),
  Macro(
    'EVAL_SPLIT', 'eval', Text('the name of a split'), 'the split of every task'
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
    'what varies; see above',
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
    't5x/infer',
    OneOf(('predict', 'score')),
    'what T5X infers: texts, or the scores of targets',
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

BY_NAME = {macro.name: macro for macro in TABLE}


def markdown() -> str:
  """Returns the table of gin/README.md."""
  lines = ['| macro | of | may be | meaning |', '|---|---|---|---|']
  for macro in TABLE:
    allowed = macro.kind.allowed.replace('|', r'\|')
    lines.append(
      f'| `{macro.name}` | {macro.of} | {allowed} | {macro.meaning} |'
    )
  return '\n'.join(lines) + '\n'


def help_text() -> str:
  """Returns what the help of a command says of macros."""
  width = max(len(macro.name) for macro in TABLE)
  lines = [
    f'  --gin.{macro.name:<{width}}  {macro.kind.allowed}' for macro in TABLE
  ]
  return '\n'.join(
    ['Macros of the gin files; gin/README.md says what they mean:', *lines]
  )
