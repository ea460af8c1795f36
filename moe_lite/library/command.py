"""Keeps experts that were trained apart, and makes models of them.

A library is a folder with experts: (IA)³ or LoRA of one size, at the same sites
of one base, each under a name. The name of a data set is a good name, because
task routing gives each data set the expert of its name.

  python -m moe_lite.library add LIBRARY NAME SOURCE [--step=N] [--data=TEXT]
      [--overwrite]

adds the adapters of a run, of an export, of Hugging Face's hub, or of another
library. The first expert decides the base, the method, the size and the sites.
An expert that differs in one of them is refused.

  python -m moe_lite.library list LIBRARY

shows the experts: what each was trained on, how long, and from what.

  python -m moe_lite.library split SOURCE --to=LIBRARY [--names=A,B,...]
      [--step=N]

makes a library of a run of MoV or MoLoRA. Without --names, the experts of a run
under task routing bear the names of its data sets, and others a number.

  python -m moe_lite.library assemble LIBRARY --to=DIR --router=NAME
      [--experts=A,B,...] [--top_k=K] [--temperature=T]

writes a mixture of the experts as exported adapters. NAME is one of task,
uniform, arrow, spectr and phatgoose, which need no training, or whose gates are
trained already. For any other router, train it: give
--gin.INITIAL_ADAPTERS="'LIBRARY'" and its routers/ file to `moe_lite.train`.

  python -m moe_lite.library merge LIBRARY --to=DIR --method=NAME
      [--experts=A,B,...] [--weights=W,W,...] [--density=D] [--rank=R]
      [--on=product] [--seed=0]

writes one expert as exported adapters. NAME is one of mean, task_arithmetic,
magnitude_prune, ties, dare_linear and dare_ties. Weights are those of the
experts in the order of --experts, or else of `list`. Pairs of matrices are
merged on their products `a b`, and the result is cut to the rank R by its
singular values; without --rank it has the rank of the experts. --on=factors
merges `a` and `b` apart.

  python -m moe_lite.library merge LIBRARY --to=DIR --method=lorahub
      --mixture=NAME_score_eval [--split=train] [--examples=16] [--budget=40]
      [--seed=0] [--experts=A,B,...] [--base=PATH] [--base_dtype=float32]

writes one expert whose weights a few examples of each task choose, without
gradients. It tries as many weights as the budget says, and takes those at which
the right answers have the smallest loss. `a` and `b` are both weighted. It
needs nevergrad: pip install 'moe_lite[library]'.

  python -m moe_lite.library cluster LIBRARY --clusters=K [--seed=42]

says which experts are alike, and prints a command for each cluster that trains
one expert on all of its data sets.

  python -m moe_lite.library select RUN --to=LIBRARY --experts=K
      [--mixture=NAME,NAME] [--split=train] [--examples=64] [--seed=0]
      [--evaluate=NAME_score_eval] [--evaluate_split=validation] [--step=N]

makes K static experts of a routed run. It measures how the data sets of the
mixture use the run's experts, clusters the data sets by that, and fixes the
routers once for each cluster. Without --mixture it takes the data of training.
`selector.json` says which expert serves which data set. With --evaluate it
compares the accuracy of the routed run, of one expert for all, and of K. A data
set that was not clustered then gets the expert of the nearest cluster, by how
its inputs use the encoder's experts.

  python -m moe_lite.library which LIBRARY DATASET

prints the folder of the expert that serves a data set.

A run folder, an export and a library are read alike: wherever adapters are
named, as in CHECKPOINT_PATH, INITIAL_ADAPTERS or `moe_lite.load`, a library is
the mixture of its experts under task routing.
"""

from collections.abc import Sequence

from moe_lite.library import (
  adding,
  assembling,
  clusters,
  listing,
  merges,
  selecting,
  selector,
  splitting,
)
from moe_lite.process import arguments, cli

VERBS = {
  'add': adding.add,
  'list': listing.list_,
  'split': splitting.split,
  'assemble': assembling.assemble,
  'merge': merges.merge,
  'cluster': clusters.cluster,
  'select': selecting.select,
  'which': selector.which,
}


def library(argv: Sequence[str]) -> None:
  """Runs the verb that the command line names."""
  arguments.run_verb(VERBS, argv, 'a verb of a library')


def main(argv: Sequence[str]) -> int:
  """Runs the command, and returns its exit code."""
  return cli.guard(library, argv, __doc__)
