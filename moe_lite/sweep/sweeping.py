"""A sweep from its grid to its table."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.sweep import outcome, record, sweep_files, tables
from moe_lite.sweep.checking import Checked, check
from moe_lite.sweep.expansion import Command, Plan, Run, Setting, expand
from moe_lite.sweep.grid import Grid
from moe_lite.sweep.jobs import Job
from moe_lite.sweep.locking import locked
from moe_lite.sweep.rows import Swept
from moe_lite.sweep.running import Processes, Runner


def sweep(
  grid: Grid,
  root: str,
  flags: Sequence[str] = (),
  jobs: int = 1,
  prints: bool = False,
) -> bool:
  """Runs what is missing of a grid, and writes its table.

  Args:
    grid: the grid to run.
    root: the folder of the runs and of the table.
    flags: flags for every command.
    jobs: the number of runs at a time.
    prints: whether to print the commands of what is missing, and run nothing.

  Returns:
    Whether nothing failed.

  Raises:
    UserError: if the grid or one of its configurations is mistaken. Nothing has
      been started then.
    interrupts.Interrupted: on Ctrl-C or SIGTERM, when all runs have saved.
  """
  if jobs < 1:
    raise UserError(f'--jobs={jobs} must be at least 1.')
  if '://' in root and not prints:
    raise UserError(
      f'--to={root}: name a folder of this machine, because runs write their '
      'logs to it. Or add --print and run the commands elsewhere; the same '
      'command then makes the table.'
    )
  plan = expand(grid, root, flags)
  say('Building every configuration.')
  checked = check(plan)
  say(tables.overview(checked.counts))
  with _held(root, prints) as lock:
    record.claim(plan, checked.configurations)
    if prints:
      _print_missing(plan, checked.train_steps)
      failed = {}
    else:
      failed = run(plan, checked, Processes(jobs), lock)
    return report(plan, checked.counts, failed)


def run(
  plan: Plan,
  checked: Checked,
  processes: Processes,
  lock: int | None,
) -> dict[str, str]:
  """Runs what is missing of a plan, and writes the table after every run.

  Args:
    plan: the plan of the sweep.
    checked: what its configurations say.
    processes: how the commands run.
    lock: see `Runner.run`.

  Returns:
    Why runs failed, by their names.
  """
  searching = search_jobs(plan, checked.train_steps)
  finals = sum(len(settings[0].runs) for settings in plan.settings.values())
  runner = Runner(
    plan.root,
    len(searching) + finals,
    processes,
    after=lambda failed: _write_so_far(plan, checked.counts, failed),
  )
  runner.run(searching, lock)
  final = final_jobs(plan, checked.train_steps)
  runner.skip(finals - len(final))
  runner.run(final, lock)
  return runner.failed


def report(
  plan: Plan,
  counts: Mapping[str, tuple[int, int]],
  failed: Mapping[str, str],
) -> bool:
  """Writes and prints the table of what there is.

  Args:
    plan: the plan of the sweep.
    counts: see `outcome.collect`.
    failed: see `outcome.collect`.

  Returns:
    Whether nothing failed.
  """
  swept, where = _write(plan, counts, failed)
  if swept.runs:
    say(tables.accuracy(swept.rows, swept.search))
  for name, why in failed.items():
    say(f'FAILED {name}: {why}')
  if not swept.complete:
    say('Not complete. Run the same command again to go on.')
  say(where)
  return not failed


def _write(
  plan: Plan,
  counts: Mapping[str, tuple[int, int]],
  failed: Mapping[str, str],
) -> tuple[Swept, str]:
  """Writes the table; returns what it holds, and a sentence on where it is."""
  swept = outcome.collect(plan, counts, failed)
  name = pathlib.PurePath(plan.root).name
  return swept, sweep_files.write(name, swept, plan.root)


def _write_so_far(
  plan: Plan,
  counts: Mapping[str, tuple[int, int]],
  failed: Mapping[str, str],
) -> None:
  """Writes the table while runs go on.

  Results that cannot be compared do not stop the other runs. The table at the
  end reports them.
  """
  with contextlib.suppress(UserError):
    _write(plan, counts, failed)


def search_jobs(plan: Plan, train_steps: Mapping[str, int]) -> list[Job]:
  """The first seed of every choice, for variants with several choices."""
  return [
    _job(setting, setting.runs[0], setting.runs[0].validation, train_steps)
    for settings in plan.settings.values()
    if len(settings) > 1
    for setting in settings
  ]


def final_jobs(plan: Plan, train_steps: Mapping[str, int]) -> list[Job]:
  """All seeds of every variant whose choice is known, seed by seed.

  That way a sweep that is stopped early has seen every variant.
  """
  chosen = [outcome.choose(settings)[0] for settings in plan.settings.values()]
  found = [setting for setting in chosen if setting is not None]
  longest = max((len(setting.runs) for setting in found), default=0)
  return [
    _job(setting, setting.runs[i], setting.runs[i].evaluation, train_steps)
    for i in range(longest)
    for setting in found
    if i < len(setting.runs)
  ]


def _job(
  setting: Setting,
  one: Run,
  measure: Command,
  train_steps: Mapping[str, int],
) -> Job:
  commands = [
    command for command in (one.train, measure) if command is not None
  ]
  return Job(one, tuple(commands), train_steps.get(setting.name, 0))


def _print_missing(plan: Plan, train_steps: Mapping[str, int]) -> None:
  """Prints a line for a shell for each run; those of the search come first."""
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
  """Holds the folder, unless nothing will be written to its runs."""
  if prints:
    yield None
    return
  with locked(root) as lock:
    yield lock
