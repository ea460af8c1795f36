"""The macros of models, methods and routers."""

from moe_lite.process.macro_kinds import (
  Function,
  Macro,
  Number,
  OneOf,
  Optional,
  Pattern,
  Table,
  Text,
  Whole,
  YesNo,
)

_SHARE = Number(least=0, below=1)
_ROUTERS = Function(
  (
    *('routing.SoftRouter', 'routing.TopKRouter', 'routing.HashRouter'),
    *('routing.UniformRouter', 'routing.SharedRouter', 'routing.TaskRouter'),
    *('routing.PolyRouter', 'routing.ArrowRouter', 'routing.SpectrRouter'),
    *('routing.GateRouter', 'routing.PhatgooseRouter', 'routing.SmearRouter'),
  )
)

MODELS: tuple[Macro, ...] = (
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
    'the dropout of activations; the paper trains adapters without it',
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
    'ATTENTION',
    'model',
    OneOf(('auto', 'plain', 'blocks')),
    'whether attention makes the logits of all queries at once, or those of '
    'one block of queries after the other, which never reach main memory; '
    "`'auto'` takes blocks where the logits are large",
  ),
  Macro(
    'BASE_COMPUTE',
    'model',
    OneOf(('activations', 'int8')),
    "how a base with `BASE_DTYPE = 'int8'` is multiplied: in the type of "
    "activations, or with each token's activations rounded to int8 as well, "
    'which chips do faster; experimental',
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
  Macro(
    'TOP_K',
    'top_k, arrow, spectr, phatgoose',
    Optional(Whole(1)),
    'how many experts a token keeps. None keeps all, but not in top_k',
  ),
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
    'soft, top_k, sentence, smear, arrow, spectr, phatgoose',
    Number(above=0),
    "what routers' logits are divided by; see the "
    '[routers](../moe_lite/adapters/README.md#routers)',
  ),
  Macro(
    'JITTER',
    'soft, top_k, sentence, smear',
    _SHARE,
    'the noise on what routers read, in training',
  ),
  Macro(
    'ROUTER_DROPOUT',
    'soft, top_k, sentence, smear',
    _SHARE,
    'the dropout of what routers read',
  ),
  Macro(
    'EXPERT_DROPOUT',
    'soft, top_k, sentence, smear',
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
  Macro(
    'NUM_TASKS',
    'poly',
    Whole(1),
    'how many data sets or tasks learn which experts they use',
  ),
  Macro(
    'SPLITS',
    'poly',
    Whole(1),
    'into how many splits the features are cut, with weights for each',
  ),
  Macro(
    'GATES_BY_TASK',
    'gates',
    YesNo(),
    'whether the gate of an expert trains on the rows of its data set alone',
  ),
  Macro('HASH_SEED', 'hash', Whole(), 'decides which ids go to which expert'),
)
