"""A sweep from its grid to its table."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.sweep import checking, expansion, outcome, record, tables
from moe_lite.sweep.expansion import Plan, Run
from moe_lite.sweep.grid import Grid
from moe_lite.sweep.running import Job, Runner, locked


def sweep(
  grid: Grid,
  root: str,
  flags: Sequence[str] = (),
  jobs: int = 1,
  prints: bool = False,
) -> bool:
  """Runs what is missing of a grid, and writes its table.

  Args:
    grid: to run.
    root: the folder of the runs and of the table.
    flags: for every command.
    jobs: runs at a time.
    prints: print the commands of what is missing in place of running them.

  Returns:
    Whether nothing failed.

  Raises:
    UserError: if the grid or a configuration of it is mistaken; nothing has
      been started then.
    interrupts.Interrupted: on Ctrl-C or SIGTERM, when all have saved.
  """
  if jobs < 1:
    raise UserError(f'--jobs={jobs} must be at least 1.')
  if '://' in root and not prints:
    raise UserError(
      f'--to={root}: runs of this machine need a folder of it, for their logs. '
      'With --print, launch them elsewhere; the same command then makes the '
      'table.'
    )
  plan = expansion.expand(grid, root, flags)
  say('Building every configuration.')
  checked = checking.check(plan)
  say(tables.overview(checked.counts))
  with _held(root, prints) as lock:
    record.claim(plan, checked)
    if prints:
      _print_missing(plan, checked.train_steps)
      failed = {}
    else:
      failed = run(plan, checked.train_steps, jobs, lock)
    return report(plan, checked.counts, failed)


def run(
  plan: Plan,
  train_steps: Mapping[str, int],
  jobs: int,
  lock: int | None,
) -> dict[str, str]:
  """Runs what is missing of a plan; returns which runs failed, and why."""
  searching = search_jobs(plan, train_steps)
  finals = sum(len(settings[0].runs) for settings in plan.settings.values())
  runner = Runner(plan.root, jobs, len(searching) + finals)
  runner.run(searching, lock)
  final = final_jobs(plan, train_steps)
  runner.skip(finals - len(final))
  runner.run(final, lock)
  return runner.failed


def report(
  plan: Plan,
  counts: Mapping[str, tuple[int, int]],
  failed: Mapping[str, str],
) -> bool:
  """Writes and prints the table of what there is; whether nothing failed."""
  swept = outcome.collect(plan, counts, failed)
  where = tables.write(pathlib.PurePath(plan.root).name, swept, plan.root)
  if swept['runs']:
    say(tables.accuracy(swept['rows']))
  for name, why in failed.items():
    say(f'FAILED {name}: {why}')
  if not swept['complete']:
    say('Not complete. Run the same command again to go on.')
  say(where)
  return not failed


def search_jobs(plan: Plan, train_steps: Mapping[str, int]) -> list[Job]:
  """Of every choice where there is one to make, the first seed."""
  return [
    _job(setting.runs[0], 'validation', train_steps.get(setting.name, 0))
    for settings in plan.settings.values()
    if len(settings) > 1
    for setting in settings
  ]


def final_jobs(plan: Plan, train_steps: Mapping[str, int]) -> list[Job]:
  """All seeds of every variant whose choice is known, seed by seed.

  A sweep that is stopped early has then seen every variant.
  """
  chosen = [outcome.choose(settings)[0] for settings in plan.settings.values()]
  found = [setting for setting in chosen if setting is not None]
  longest = max((len(setting.runs) for setting in found), default=0)
  return [
    _job(setting.runs[i], 'evaluation', train_steps.get(setting.name, 0))
    for i in range(longest)
    for setting in found
    if i < len(setting.runs)
  ]


def _job(run: Run, measure: str, train_steps: int) -> Job:
  commands = [run.train, getattr(run, measure)]
  return Job(run, tuple(c for c in commands if c is not None), train_steps)


def _print_missing(plan: Plan, train_steps: Mapping[str, int]) -> None:
  """A line for a shell for each run; those of the search first."""
  missing = [j for j in search_jobs(plan, train_steps) if j.missing()]
  is_search = bool(missing)
  if not is_search:
    missing = [j for j in final_jobs(plan, train_steps) if j.missing()]
  for job in missing:
    print(' && '.join(c.line() for c in job.missing()), flush=True)
  if is_search:
    say(
      f'{len(missing)} runs of the search are missing. When they are done, the '
      'same command prints the runs that follow from its choices.'
    )
  else:
    say(f'{len(missing)} runs are missing.')


@contextlib.contextmanager
def _held(root: str, prints: bool) -> Iterator[int | None]:
  if prints:
    yield None
    return
  with locked(root) as lock:
    yield lock
