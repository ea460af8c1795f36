"""Measures texts as the tasks of P3 do."""

from tasks import metrics


def measure(name, targets, predictions):
  """A metric of texts; those of one row's inputs are 'question 0', ..."""
  postprocess = metrics.postprocess_for([name])
  rows = [{'inputs_pretokenized': f'question {i}'} for i in range(len(targets))]
  process = lambda texts, is_target: [
    postprocess(text, example=row, is_target=is_target)
    for text, row in zip(texts, rows, strict=True)
  ]
  return metrics.METRICS[name](
    process(targets, True), process(predictions, False)
  )
