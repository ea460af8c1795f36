"""Makes `tasks/p3/p3_table.csv` from the published facts about P3.

  python -m tests.tasks.p3.facts FACTS_DIR

FACTS_DIR holds two files. `p3_tasks.jsonl` came from executing T0's task
definitions, and has one task on each line. `hub_tasks.csv` came from listing
the published data set, and has one published configuration on each line.
"""

import csv
import io
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from moe_lite.data import catalog
from tasks.p3.table import COLUMNS, PATH, PER_EXAMPLE

# The columns that say whether a mixture holds a task, and then its twin, in the
# order of `table.MIXTURES`.
_OF_TASK = {
  't0_train': 'in_t0_train',
  't0+_train': 'in_t0p_train',
  't0++_train': 'in_t0pp_train',
  't0_train_one_og_prompt': 'in_t0_train_one_og_prompt',
  't0_train_all_og_prompts': 'in_t0_train_all_og_prompts',
}
_OF_TWIN = {
  't0_eval_score_eval': 'in_t0_eval_score_eval',
  't0_train_score_eval': 'in_t0_train_score_eval',
  'bias_fairness_eval_score_eval': 'in_bias_fairness_eval_score_eval',
}
_HIDDEN = {'fn': 'mean_multiclass_f1', '_deduplicated_metric': 'record'}


def table(facts_dir: pathlib.Path) -> str:
  """The text of the table."""
  lines = (facts_dir / 'p3_tasks.jsonl').read_text(encoding='utf-8').split('\n')
  tasks = [json.loads(line) for line in lines if line]
  with (facts_dir / 'hub_tasks.csv').open(encoding='utf-8') as file:
    hub = {row['config_name']: row for row in csv.DictReader(file)}
  out = io.StringIO()
  writer = csv.DictWriter(out, COLUMNS, lineterminator='\n')
  writer.writeheader()
  for row in (*map(_registered, tasks), *_published_only(tasks, hub)):
    writer.writerow(row)
  return out.getvalue()


def _registered(task: Mapping[str, Any]) -> dict[str, Any]:
  name = task['dataset'] + (f'_{task["subset"]}' if task['subset'] else '')
  published = task['hub_split_sizes']
  kind = task['answer_choices_kind']
  choices = {
    'none': '',
    'per_example': PER_EXAMPLE,
    'fixed': json.dumps(task['fixed_answer_choices'], ensure_ascii=False),
  }
  mixtures = [m for m, key in _OF_TASK.items() if task[key]]
  twins = [m for m, key in _OF_TWIN.items() if task[key]]
  metrics = [_HIDDEN.get(m, m) for m in task['seqio_metrics']]
  return {
    'task': task['task_name'],
    'dataset': name + (f'_{task["anli_round"]}' if task['anli_round'] else ''),
    'template': task['template_name'],
    'cluster': task['task_by_convention'],
    'original_task': int(task['original_task']),
    'metrics': ' '.join(dict.fromkeys(metrics)),
    'choices': choices[kind],
    'rate': task['mixture_cap'] if mixtures else '',
    'mixtures': ' '.join(mixtures + twins),
    'published': int(task['hub_has_task']),
    'rows': _sizes(published or task['num_input_examples']),
    'published_choices': int(task['hub_has_answer_choices'] is True),
    'score_eval_rows': _sizes(task['hub_score_eval_split_sizes']),
  }


def _published_only(
  tasks: list[dict[str, Any]], hub: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, Any]]:
  """Configurations that T0 does not register: WinoGrande's debiased ones."""
  by_name = {task['task_name']: task for task in tasks}
  for name, config in hub.items():
    if name in by_name or config['is_score_eval'] == '1':
      continue
    like = _registered(by_name[name.replace('debiased', 'xl')])
    yield like | {
      'task': name,
      'dataset': like['dataset'].replace('xl', 'debiased'),
      'mixtures': '',
      'rows': _hub_sizes(config),
      'score_eval_rows': _hub_sizes(hub[name + catalog.SCORE_EVAL]),
    }


def _hub_sizes(config: Mapping[str, str]) -> str:
  splits = ('train', 'validation', 'test')
  return _sizes({s: int(config[s]) for s in splits if config[s]})


def _sizes(sizes: Mapping[str, int]) -> str:
  return ' '.join(f'{split}:{rows}' for split, rows in sorted(sizes.items()))


if __name__ == '__main__':
  PATH.write_text(table(pathlib.Path(sys.argv[1])), encoding='utf-8')
