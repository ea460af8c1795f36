"""The logical axes that parameters may have, and what each is split over.

A parameter names the axis of each of its dimensions where it is declared; see
`partitioning.param`. The rules map these names to the mesh axes `data` and
`model`. The names are those of T5X, and four more for adapters and routers:
`expert`, `rank`, `task` and `split`.
"""

# The axes that T5X has no rule for. They are short, and every device holds the
# whole of them.
SHORT = ('expert', 'rank', 'task', 'split')
# These are T5X's standard rules: parameters are split over `model`, batches
# over `data`.
RULES: tuple[tuple[str, str | None], ...] = (
  ('batch', 'data'),
  ('length', None),
  ('embed', None),
  ('mlp', 'model'),
  ('heads', 'model'),
  ('kv', None),
  ('joined_kv', 'model'),
  ('vocab', 'model'),
  ('relpos_buckets', None),
  ('layers', None),
  *((name, None) for name in SHORT),
)
# A frozen base has no gradients to reduce, so it may be split over `data` as
# well. Each weight is then gathered where it is used.
FULLY_SHARDED_RULES = tuple(
  (name, 'data' if name == 'embed' else mesh_axis) for name, mesh_axis in RULES
)
# The axes of activations, which parameters do not have.
_OF_ACTIVATIONS = ('batch', 'length')
# The axes that the dimension of a parameter may have.
OF_PARAMETERS = tuple(name for name, _ in RULES if name not in _OF_ACTIVATIONS)
