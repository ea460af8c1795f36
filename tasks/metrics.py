"""Metrics of generated text, under the names that P3's tasks give them.

Each metric is a SeqIO metric_fn. Values are in percent and never NaN; without
rows they are 0. A metric raises ValueError if there are not as many predictions
as targets. Libraries are imported in the functions that call them, so that
registering tasks does not wait for them.

Source: the metrics of T5 (arXiv 1910.10683) that T0 uses. Docstrings say where
these metrics differ.
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
  """A `postprocess_fn` that strips a text; many targets begin with a space."""
  return text.strip()


def postprocess_record(
  text: str, example: Row | None = None, is_target: bool = False
) -> Any:
  """A `postprocess_fn` that adds its inputs to a target, for `record`.

  Raises:
    UserError: if the row of a target lacks `inputs_pretokenized`.
  """
  if not is_target:
    return text.strip()
  if 'inputs_pretokenized' not in (row := example or {}):
    raise UserError(
      'The metric record groups rows by inputs_pretokenized, but a row has '
      f'only {sorted(row)}. Let the task keep that text, or measure squad.'
    )
  return {'inputs': row['inputs_pretokenized'], 'answer': text.strip()}


def postprocess_for(names: Sequence[str]) -> Callable[..., Any]:
  """The `postprocess_fn` of a task with these metrics.

  Raises:
    UserError: if record is not the only metric. Its targets are not mere text.
  """
  if 'record' in names and len(names) > 1:
    raise UserError(
      f'A task has the metrics {", ".join(names)}, but no other metric can '
      'read the targets of record. Measure record alone, or squad in its '
      'place.'
    )
  return postprocess_record if 'record' in names else postprocess


def accuracy(targets: Texts, predictions: Texts) -> Values:
  """The share of predictions that equal their target to the letter."""
  rows = zip(targets, predictions, strict=True)
  return {'accuracy': _percent([target == text for target, text in rows])}


def bleu(targets: Texts, predictions: Texts) -> Values:
  """Corpus BLEU with T5's tokenizer; 0 if no prediction has four words."""
  import sacrebleu

  # Without rows sacrebleu raises an error; for an empty row it gives 0.
  rows = list(zip(targets, predictions, strict=True)) or [('', '')]
  # `force` changes no value. It only keeps sacrebleu from warning that a text
  # looks tokenized, which that of some data sets is.
  score = sacrebleu.corpus_bleu(
    [p for _, p in rows], [[t for t, _ in rows]], tokenize='intl', force=True
  )
  return {'bleu': float(score.score)}


def rouge(targets: Texts, predictions: Texts) -> Values:
  """The F-measures of ROUGE-1, ROUGE-2 and ROUGE-Lsum, without stemming.

  For ROUGE-Lsum, sentences end at ' . ' or at a line break, as in T5. The value
  is the plain mean over rows, where T5 takes the mean of a bootstrap.
  rouge-score reads only the letters a to z and digits, so a text without them
  scores 0, even if it is right.
  """
  from rouge_score import rouge_scorer

  scorer = rouge_scorer.RougeScorer(_ROUGE)
  # T5's vocabulary has no line break, so predictions contain none.
  split = lambda text: text.replace(' . ', ' .\n')
  rows = zip(targets, predictions, strict=True)
  scores = [scorer.score(split(target), split(text)) for target, text in rows]
  return {key: _percent([s[key].fmeasure for s in scores]) for key in _ROUGE}


def squad(targets: Texts, predictions: Texts) -> Values:
  """F1 of words and exact matches, of answers as SQuAD 1.1 normalises them.

  Normalised answers are in lower case, without ASCII punctuation, articles and
  superfluous white space. If an answer or a prediction has no words, F1 is the
  exact match, as in SQuAD 2.0.
  """
  questions = [{'inputs': i, 'answer': t} for i, t in enumerate(targets)]
  return record(questions, predictions)


def record(targets: Sequence[Row], predictions: Texts) -> Values:
  """F1 and exact matches as in `squad`, of questions with one or more answers.

  Rows with equal inputs are one question, which counts once. Each prediction
  for the question is compared with each of its answers, and the best value
  counts. The value of the question is the mean over its predictions. In T5,
  every row has all answers, and the first prediction counts. Targets are as
  `postprocess_record` gives them.
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
  """F1 of the second of two labels.

  A prediction that is neither label counts as the wrong one. The labels are the
  distinct targets in their order, except that a target that begins with 'no'
  comes first: 'no' and 'yes', 'not equivalent' and 'equivalent'. If there is
    only
  one label, it is the second. With more than two labels the value is 0.
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
  """The mean of F1 over classes, which are the distinct targets.

  In P3 only CB has this metric. CB has three classes, and one that is not among
  the targets scores 0, as in T5. A prediction that is not a class counts only
  against the class of its target.
  """
  rows = list(zip(targets, predictions, strict=True))
  scores = [
    _f1([target == label for target, _ in rows], [p == label for _, p in rows])
    for label in sorted(set(targets))
  ]
  return {'mean_multiclass_f1': 100 * sum(scores) / max(3, len(scores))}


def spearman_corrcoef(targets: Texts, predictions: Texts) -> Values:
  """Spearman's rank correlation times 100, of texts that are numbers.

  A prediction that is not a decimal number ranks below all numbers. The value
  is 0 if a target is not a number, or if all targets or all predictions are
  equal.
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
  """F1 and exact match of two lists of words."""
  if not answer or not said:
    return float(answer == said), float(answer == said)
  shared = collections.Counter(answer) & collections.Counter(said)
  return 2 * shared.total() / (len(answer) + len(said)), float(answer == said)


def _f1(truth: Sequence[bool], chosen: Sequence[bool]) -> float:
  from sklearn.metrics import f1_score

  return float(f1_score(truth, chosen))


def _number(text: str) -> float:
  """The number that a text is; minus infinity if it is not a decimal number."""
  known = re.fullmatch(r'[-+]?(\d+\.?\d*|\.\d+)', text)
  return float(text) if known else -math.inf
