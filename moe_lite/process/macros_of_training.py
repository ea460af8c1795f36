"""The macros of data and of training."""

from moe_lite.process.macro_kinds import (
  Either,
  Function,
  Macro,
  Number,
  OneOf,
  Optional,
  Pair,
  Several,
  Table,
  Text,
  Whole,
  YesNo,
)

_WEIGHT = Number(least=0)
_FACTORS = (
  *('NUM_REAL_TARGET_TOKENS', 'NUM_TOTAL_TARGET_TOKENS'),
  'AVERAGE_PER_SEQUENCE',
)

TRAINING: tuple[Macro, ...] = (
  Macro(
    'MIXTURE_OR_TASK_NAME',
    'data',
    Either(
      (
        Text('the name of a task or mixture'),
        Function(('prompted_files.mixture',), is_called=True),
      )
    ),
    'the name of a registered SeqIO task or mixture, or a function that '
    'registers one and returns its name',
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
    'p3, t0_train, t0_eval, rows',
    Optional(Text('a SentencePiece model')),
    "what to tokenize text with; None takes T5's, which is that of P3's ids",
  ),
  Macro(
    'P3_EXTRA_IDS',
    'p3, t0_train, t0_eval, rows',
    Whole(),
    'the number of sentinels beyond the pieces of `P3_VOCABULARY`',
  ),
  Macro(
    'ROWS_DIR',
    'rows',
    Text('a folder'),
    'a folder of examples under prompts, in files such as `copa.train.jsonl`',
  ),
  Macro(
    'ROWS_SETS',
    'rows',
    Optional(Several(Text('the name of a data set'), "['copa']")),
    'the data sets of that folder to take; None takes all with answer choices',
  ),
  Macro(
    'LOGGERS',
    'finetune',
    Several(
      Function(('loggers.tensorboard', 'loggers.wandb')),
      '[@loggers.tensorboard]',
    ),
    'where metrics go besides `metrics.jsonl`',
  ),
  Macro('MODEL_DIR', 'finetune', Text('a folder'), 'the run folder'),
  Macro(
    'INITIAL_ADAPTERS',
    'finetune, t5x/finetune',
    Optional(Text('a run, an export, or a folder of PEFT')),
    'the adapters to begin with; None draws them',
  ),
  Macro(
    'EXPERT_NOISE',
    'finetune, t5x/finetune',
    _WEIGHT,
    'the deviation, relative to each number, of draws that let copies of an '
    'expert part',
  ),
  Macro(
    'MERGE',
    'finetune',
    Optional(
      OneOf(
        (
          *('mean', 'task_arithmetic', 'magnitude_prune', 'ties'),
          *('dare_linear', 'dare_ties'),
        )
      )
    ),
    'how one expert is made of all experts of `INITIAL_ADAPTERS`',
  ),
  Macro(
    'MERGE_DENSITY',
    'finetune',
    Optional(Number(above=0)),
    'the share of numbers that sparse ways of merging keep; None takes 0.2, '
    'and 0.1 for DARE',
  ),
  Macro(
    'TRAIN_STEPS',
    'finetune',
    Whole(0),
    'the steps of training, without those of the base; with 0, '
    '`INITIAL_ADAPTERS` are saved as they are taken',
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
        'optimizers.linear_decay',
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
  Macro(
    'SHOTS',
    'few_shot',
    Optional(Whole(1)),
    'how many examples of each data set are trained on, the same ones under '
    'all of its prompts; None takes all',
  ),
  Macro('SHOTS_SEED', 'few_shot', Whole(), 'decides which examples these are'),
  Macro(
    'NUM_CHOICES',
    'few_shot',
    Whole(1),
    'the room for the answer choices of an example',
  ),
  Macro(
    'UNLIKELIHOOD',
    'few_shot',
    _WEIGHT,
    'the weight of the loss that makes the tokens of wrong choices unlikely',
  ),
  Macro(
    'CHOICE_LOSS',
    'few_shot',
    _WEIGHT,
    'the weight of the cross entropy of picking the right choice',
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
    'LOG_PERIOD',
    'finetune',
    Whole(1),
    'the steps between two lines of the log and of `metrics.jsonl`',
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
    'TASK_IDS',
    'finetune, t5x/finetune',
    Optional(OneOf(('dataset', 'task'))),
    'what numbers beside tokens stand for: data sets, or tasks, which are '
    'prompts. With `ROUTING_METRICS`, routing is then also told by them. None '
    'numbers nothing',
  ),
  Macro(
    'USE_CACHED_TASKS',
    'all runs',
    YesNo(),
    'whether to read the caches that `seqio_cache_tasks` or `tasks.cache` '
    'wrote',
  ),
)
