"""Metrics of generated text, under the names that P3's tasks give them.

Each is a SeqIO metric_fn. Values are in percent and never NaN: of no rows they
are 0. Unequal numbers of targets and predictions raise ValueError. Libraries
are imported where they are called: registering tasks does not wait for them.

Source: the metrics of T5 (arXiv 1910.10683) that T0 uses; docstrings say where
ours differ.
"""

import collections
import math
import re
import string
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.core.errors import UserError

Row = Mapping[str, Any]
Texts = Sequence[str]
Values = dict[str, float]

_ROUGE = ('rouge1', 'rouge2', 'rougeLsum')
_NO_PUNCTUATION = str.maketrans('', '', string.punctuation)


def postprocess(
  text: str, example: Row | None = None, is_target: bool = False
) -> str:
  """A `postprocess_fn`: many targets of P3 begin with white space."""
  return text.strip()


def postprocess_record(
  text: str, example: Row | None = None, is_target: bool = False
) -> Any:
  """A `postprocess_fn`: of a target, also the inputs, by which `record` groups.

  Raises:
    UserError: if a target's row lacks `inputs_pretokenized`.
  """
  if not is_target:
    return text.strip()
  if 'inputs_pretokenized' not in (row := example or {}):
    raise UserError(
      'The metric record groups rows by inputs_pretokenized, and one has only '
      f'{sorted(row)}: let the task keep that text, or measure squad.'
    )
  return {'inputs': row['inputs_pretokenized'], 'answer': text.strip()}


def postprocess_for(names: Sequence[str]) -> Callable[..., Any]:
  """The `postprocess_fn` of a task with these metrics.

  Raises:
    UserError: if others stand beside record, whose targets are no mere text.
  """
  if 'record' in names and len(names) > 1:
    raise UserError(
      f'One task has the metrics {", ".join(names)}: only record can read its '
      'targets, so it stands alone. Beside others, measure squad.'
    )
  return postprocess_record if 'record' in names else postprocess


def accuracy(targets: Texts, predictions: Texts) -> Values:
  """Share of predictions that are the target, to the letter."""
  rows = zip(targets, predictions, strict=True)
  return {'accuracy': _percent([target == text for target, text in rows])}


def bleu(targets: Texts, predictions: Texts) -> Values:
  """Corpus BLEU, with T5's tokenizer; 0 where no prediction has four words."""
  import sacrebleu

  # Of no rows, sacrebleu makes an error; of an empty one, 0.
  rows = list(zip(targets, predictions, strict=True)) or [('', '')]
  # Some data sets are tokenized; `force` changes no value and warns of none.
  score = sacrebleu.corpus_bleu(
    [p for _, p in rows], [[t for t, _ in rows]], tokenize='intl', force=True
  )
  return {'bleu': float(score.score)}


def rouge(targets: Texts, predictions: Texts) -> Values:
  """F-measures of ROUGE-1, -2 and -Lsum, without stemming.

  Sentences, for the last, end at ' . ' or a line break, as in T5's. Of rows the
  plain mean is taken, where T5's is a bootstrap's. rouge-score reads letters a
  to z and digits only: a text without any scores 0, also a right one.
  """
  from rouge_score import rouge_scorer

  scorer = rouge_scorer.RougeScorer(_ROUGE)
  # T5's vocabulary has no line break, so predictions have none of their own.
  split = lambda text: text.replace(' . ', ' .\n')
  rows = zip(targets, predictions, strict=True)
  scores = [scorer.score(split(target), split(text)) for target, text in rows]
  return {key: _percent([s[key].fmeasure for s in scores]) for key in _ROUGE}


def squad(targets: Texts, predictions: Texts) -> Values:
  """F1 of words, and exact matches, of answers as SQuAD 1.1 normalises them.

  That is in lower case, without ASCII punctuation, articles and superfluous
  white space. F1 with what has no words is the exact match, as SQuAD 2.0's.
  """
  questions = [{'inputs': i, 'answer': t} for i, t in enumerate(targets)]
  return record(questions, predictions)


def record(targets: Sequence[Row], predictions: Texts) -> Values:
  """F1 and exact matches as `squad`, of questions that may have many answers.

  Rows of equal inputs are one question, which counts once: each prediction made
  for it is held against each of its answers, the best of these counts, and of
  predictions the mean. T5's has all answers in every row and takes the first
  prediction. Targets are as `postprocess_record` gives them.
  """
  questions: dict[Hashable, list[Any]] = collections.defaultdict(list)
  for target, text in zip(targets, predictions, strict=True):
    questions[target['inputs']].append((_words(target['answer']), _words(text)))
  best = lambda rows, said: np.max([_compare(a, said) for a, _ in rows], 0)
  mean = lambda rows: np.mean([best(rows, said) for _, said in rows], 0)
  scores = [mean(rows) for rows in questions.values()]
  f1, exact = np.reshape(scores, (-1, 2)).T.tolist()
  return {'f1': _percent(f1), 'em': _percent(exact)}


def f1_score_with_invalid(targets: Texts, predictions: Texts) -> Values:
  """F1 of the second of two labels; what is neither counts as the wrong one.

  Labels are the distinct targets, sorted, of which one that begins with 'no'
  comes first: 'no' and 'yes', 'not equivalent' and 'equivalent'. A lone one is
  the second. More than two are no labels, and the value is 0.
  """
  negates = lambda label: label.lower().startswith('no')
  labels = sorted(set(targets), key=lambda label: (not negates(label), label))
  truth = [target == labels[-1] for target in targets]
  chosen = [
    text == labels[-1] if text in labels else not is_second
    for text, is_second in zip(predictions, truth, strict=True)
  ]
  return {'f1': 100 * _f1(truth, chosen) if 1 <= len(labels) <= 2 else 0.0}


def mean_multiclass_f1(targets: Texts, predictions: Texts) -> Values:
  """Mean over classes of their F1; classes are the distinct targets.

  Of P3's data sets only CB has it, which has three: one that no target is
  scores 0, as in T5's. A prediction that is no class only misses its target's.
  """
  rows = list(zip(targets, predictions, strict=True))
  scores = [
    _f1([target == label for target, _ in rows], [p == label for _, p in rows])
    for label in sorted(set(targets))
  ]
  return {'mean_multiclass_f1': 100 * sum(scores) / max(3, len(scores))}


def spearman_corrcoef(targets: Texts, predictions: Texts) -> Values:
  """Spearman's rank correlation times 100, of texts that are numbers.

  A prediction that is no decimal number ranks below all that are. Where a
  target is none, or all targets or all predictions are equal, the value is 0.
  """
  from scipy import stats

  rows = zip(targets, predictions, strict=True)
  numbers = np.reshape([[*map(_number, row)] for row in rows], (-1, 2))
  varies = (numbers != numbers[:1]).any(0).all()
  if not varies or not np.isfinite(numbers[:, 0]).all():
    return {'spearman_corrcoef': 0.0}
  ranks = stats.rankdata(numbers, axis=0)
  return {'spearman_corrcoef': float(100 * np.corrcoef(ranks.T)[0, 1])}


METRICS: Mapping[str, Callable[..., Values]] = {
  'accuracy': accuracy,
  'bleu': bleu,
  'rouge': rouge,
  'squad': squad,
  'record': record,
  'f1_score_with_invalid': f1_score_with_invalid,
  'mean_multiclass_f1': mean_multiclass_f1,
  'spearman_corrcoef': spearman_corrcoef,
}


def _percent(shares: Sequence[float]) -> float:
  return 100 * math.fsum(shares) / len(shares) if shares else 0.0


def _words(text: str) -> list[str]:
  text = text.lower().translate(_NO_PUNCTUATION)
  return re.sub(r'\b(a|an|the)\b', ' ', text).split()


def _compare(answer: list[str], said: list[str]) -> tuple[float, float]:
  """F1 and exact match."""
  if not answer or not said:
    return float(answer == said), float(answer == said)
  shared = collections.Counter(answer) & collections.Counter(said)
  return 2 * shared.total() / (len(answer) + len(said)), float(answer == said)


def _f1(truth: Sequence[bool], chosen: Sequence[bool]) -> float:
  from sklearn.metrics import f1_score

  return float(f1_score(truth, chosen))


def _number(text: str) -> float:
  """Minus infinity if it is no decimal number."""
  known = re.fullmatch(r'[-+]?(\d+\.?\d*|\.\d+)', text)
  return float(text) if known else -math.inf
