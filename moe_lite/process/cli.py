"""The flags of runs, which are T5X's, and the exit codes of all commands.

  --gin_file=models/t5_1_1_mini.gin      a gin file of the gin folder, or of any
                                         other; repeat the flag for the next one
  --gin.NAME=VALUE                       a binding; VALUE is Python, so a string
                                         needs quotes within the shell's quotes
  --gin_bindings='NAME = VALUE'          a binding in gin's own syntax; this and
                                         the flag before may be repeated
  --gin_search_paths=DIR,DIR             folders to look for gin files in first
  --seqio_additional_cache_dirs=DIR,DIR  folders to look for cached tasks in
  --multi_host                           join the other processes of a pod; JAX
                                         finds them (Cloud TPU, GKE, Slurm)
  --coordinator_address=HOST:PORT        elsewhere: the address of process 0,
  --process_count=N                      how many processes there are,
  --process_index=I                      and the number of this one, from 0
  --initialization_timeout=SECONDS       how long to wait for other processes;
                                         45 by default, and 300 on a pod

A user's mistake, or an error of files, of memory or of the user's own code,
ends the command with one message and exit code 2, a training run that diverges
with one message and exit code 4, and Ctrl-C with exit code 130. Any other error
is a fault of this package. It ends the command with a stack trace and exit
code 1.
"""

import ast
import os
import pathlib
import re
import sys
import tokenize
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import gin
import gin.config
from absl import flags, logging
from etils import epath

from moe_lite.core import locks
from moe_lite.core.errors import UserError, nearest
from moe_lite.process import (
  boundary,
  compiled,
  distributed,
  endings,
  gin_macros,
  gin_paths,
)
from moe_lite.process.help_text import is_asked
from moe_lite.process.quiet_tensorflow import import_tensorflow

# What gin's parser raises for a text that is not a value.
_NOT_PYTHON = (SyntaxError, ValueError, tokenize.TokenError)
# With these words gin begins what it appends to the message of an error.
_MARK = '  In call to configurable'
# The value of macros that nothing reads.
_PLACEHOLDER = 'given to no one'
# The macros that name folders to write to.
_FOLDERS = ('MODEL_DIR', 'EVAL_OUTPUT_DIR', 'INFER_OUTPUT_DIR')
# What a shell reports for a command whose output nobody reads any more.
_BROKEN_PIPE = 141
# The modules whose functions macros name, and the packages that hold them.
_IMPORTS = {
  'adapters': 'moe_lite',
  'decoding': 'moe_lite.models',
  'optimizers': 'moe_lite.training',
  'routing': 'moe_lite',
  't5': 'moe_lite',
}
_MODULE = re.compile(r'(?:@|^)([a-z][a-z_0-9]*)\.')


def main(entry: str, run_file: str, argv: Sequence[str]) -> int:
  """Runs an entry point, and returns the exit code.

  Args:
    entry: the function to call, such as 'training.train'. Gin configures it.
    run_file: a gin file that configures it. Messages name it.
    argv: the command line. Its first word is the program.
  """
  return guard(lambda argv: configure(argv, entry, run_file)(), argv, None)


def guard(
  command: Callable[[Sequence[str]], None],
  argv: Sequence[str],
  help_text: str | None,
) -> int:
  """Calls a command, and prints a message if it ends with an error.

  Args:
    command: the function to call. It takes the command line.
    argv: the command line. Its first word is the program.
    help_text: what to print if `argv` has -h or --help. None if `start` has
      done so.

  Returns:
    The exit code: 0 at success, that of a UserError, 130 for Ctrl-C, 1 for an
    error that only this package can be blamed for. An interruption that has an
    exit code of its own ends with that one.
  """
  # This hides TensorFlow's notices on what it was compiled for.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  # Libraries log each error that they raise, with its stack.
  logging.set_verbosity(logging.FATAL)
  if help_text is not None and is_asked(argv):
    print(help_text)
    return 0
  boundary.silence_threads()
  compiled.keep()
  try:
    command(argv)
    return 0
  except KeyboardInterrupt as error:
    print(
      str(error) or 'Interrupted. Run the same command again to go on.',
      file=sys.stderr,
    )
    code = getattr(error, 'exit_code', None)
    if code is not None:  # All processes have saved, and all of them stop.
      return code
    endings.end(130, 'it was interrupted.')
    return 130
  except Exception as error:
    if isinstance(error, BrokenPipeError) and boundary.is_unread(sys.stdout):
      # Whoever read the output, such as `head`, has seen enough.
      with open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
      return _BROKEN_PIPE
    explained = boundary.explain(error)
    if explained is None:
      endings.fail(error)
      traceback.print_exception(error)
      print(boundary.FAULT, file=sys.stderr)
      return 1
    print(f'error: {message(explained)}', file=sys.stderr)
    endings.end(explained.exit_code, message(explained))
    return explained.exit_code


def message(error: Exception) -> str:
  """Returns the message of an error without what gin appends to it."""
  return str(error).partition(f'\n{_MARK}')[0].strip()


def configure(
  argv: Sequence[str],
  entry: str | Sequence[str],
  run_file: str,
  placeholders: Sequence[str] = (),
  folders: Sequence[str] = (),
) -> Callable[[], Any]:
  """Parses flags and gin files.

  Args:
    argv: the command line. Its first word is the program.
    entry: the name of the function to return. If there are several names, the
      first one that gin files configure is taken.
    run_file: a gin file that configures the function. Messages name it.
    placeholders: macros that the user need not give, because nothing will read
      them.
    folders: where gin files are looked for, after those that the user names.

  Returns:
    The function, with everything that gin binds to it.

  Raises:
    UserError: for any mistake in the flags, the files or the bindings.
  """
  values = _parse_flags(argv)
  if not values.gin_file:
    raise UserError(
      'No --gin_file was given. A run is models x methods x data x run, such '
      'as --gin_file=models/t5_1_1_mini.gin --gin_file=methods/mov.gin '
      f'--gin_file=data/mini.gin --gin_file={run_file}.'
    )
  _check_free(values.gin_bindings)
  import_tensorflow()
  gin.clear_config()
  _search_gin_files([*values.gin_search_paths, *folders])
  distributed.join(
    values.multi_host,
    values.coordinator_address,
    values.process_count,
    values.process_index,
    values.initialization_timeout,
    saves_on_sigterm=entry == 'training.train',
  )
  add_cache_dirs(values.seqio_additional_cache_dirs)
  for file in values.gin_file:
    with _user_errors(f'--gin_file={file}'):
      gin.parse_config_file(os.path.expanduser(file))
  of_files = gin_macros.names()
  for binding in values.gin_bindings:
    with _user_errors(f'--gin.{binding.replace(" = ", "=", 1)}'):
      gin.parse_config(_with_imports(binding))
  entries = [entry] if isinstance(entry, str) else entry
  configured = [name for name in entries if gin_macros.is_configured(name)]
  if not configured:
    raise UserError(
      f'None of the gin files configures {" or ".join(entries)}. Add '
      f'--gin_file={run_file}.'
    )
  for name in placeholders:
    if name in of_files and gin_macros.lacks_value(name):
      gin.parse_config(f'{name} = {_PLACEHOLDER!r}')
  gin_macros.check(of_files)
  gin_macros.check_values()
  distributed.check_same(f'# {configured[0]}\n{gin.config_str()}')
  return gin.get_configurable(configured[0])


def _check_free(bindings: Sequence[str]) -> None:
  """Raises UserError if another command writes into a folder that flags name.

  What the flags do not tell is seen later. Here it takes no time.
  """
  for binding in bindings:
    macro, _, value = (part.strip() for part in binding.partition('='))
    if macro in _FOLDERS:
      try:
        folder = ast.literal_eval(value)
      except (ValueError, SyntaxError):
        continue  # The parser of gin will say so.
      locks.check_free(folder, macro)


def add_cache_dirs(folders: Sequence[str]) -> None:
  """Makes SeqIO look for cached tasks in more folders.

  Raises:
    UserError: if one of them does not exist. Folders in a bucket are not
      checked.
  """
  if not folders:
    return
  import seqio

  missing = [f for f in folders if '://' not in f and not os.path.isdir(f)]
  if missing:
    raise UserError(
      f'--seqio_additional_cache_dirs: {missing[0]!r} is not a folder.'
    )
  seqio.add_global_cache_dirs(list(folders))


def _parse_flags(argv: Sequence[str]) -> flags.FlagValues:
  # This registry is not absl's own, so that a process can parse flags twice.
  values = flags.FlagValues()
  flags.DEFINE_multi_string('gin_file', [], 'A gin file.', values)
  flags.DEFINE_multi_string('gin_bindings', [], 'A binding.', values)
  flags.DEFINE_list('gin_search_paths', [], 'Folders.', values)
  flags.DEFINE_list('seqio_additional_cache_dirs', [], 'Folders.', values)
  flags.DEFINE_bool('multi_host', False, 'Join a pod.', values)
  flags.DEFINE_string('coordinator_address', None, 'HOST:PORT.', values)
  for name in ('process_count', 'process_index', 'initialization_timeout'):
    flags.DEFINE_integer(
      name, None, 'See above.', lower_bound=0, flag_values=values
    )
  try:
    rest = values(_rewrite_gin_flags(argv))
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if len(rest) > 1:
    raise UserError(
      f'{rest[1]!r} is not a flag. Flags begin with --. Values with spaces or '
      'quotes need quotes around them.'
    )
  return values


def _rewrite_gin_flags(argv: Sequence[str]) -> list[str]:
  """Turns `--gin.NAME=VALUE` into `--gin_bindings=NAME = VALUE`, like T5X."""
  rewritten = []
  for argument in argv:
    if argument.startswith('--gin.'):
      name, equals, value = argument.removeprefix('--gin.').partition('=')
      if not equals:
        raise UserError(f'{argument} has no value. Write {argument}=VALUE.')
      argument = f'--gin_bindings={name} = {value}'
    rewritten.append(argument)
  return rewritten


def _search_gin_files(folders: Sequence[str]) -> None:
  """Sets the folders where gin looks for files.

  Gin looks in the working folder first, then in `folders`, and in the gin
  folder of the package last. By itself gin would also take the folder of a file
  for a Python package. It would then fail if a folder of the user, such as
  `runs`, can be imported.
  """
  gin.config.register_file_reader(
    lambda path: epath.Path(path).open(),
    lambda path: epath.Path(path).is_file(),
  )
  del gin.config._FILE_READERS[:-1]
  gin.config._LOCATION_PREFIXES[:] = [
    '',
    *map(os.path.expanduser, folders),
    str(gin_paths.folder()),
  ]


class _user_errors:
  """Turns errors that gin raises in parsing into UserErrors.

  A gin file may import a module. An error of that module is not a mistake in
  the command, so it is left as it is, with its stack trace.
  """

  def __init__(self, where: str):
    """Sets how messages begin.

    Args:
      where: the flag that is parsed, with its value.
    """
    self._where = where

  def __enter__(self) -> None:
    pass

  def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
    if error is None or isinstance(error, UserError):
      return
    if not isinstance(error, Exception) or not _is_raised_by_gin(error):
      return
    raise UserError(self._explain(error)) from error

  def _explain(self, error: Exception) -> str:
    text = f'{self._where}: {message(error)}'
    is_flag = self._where.startswith('--gin.')
    if is_flag and isinstance(error, _NOT_PYTHON):
      name, _, value = self._where.removeprefix('--gin.').partition('=')
      if not _is_python(value):
        return (
          f'{self._where}: {value!r} is not a value of Python or gin. A string '
          f'needs quotes of its own: --gin.{name}="\'{value}\'".'
        )
    if isinstance(error, OSError):
      return f'{text}{_nearest_file(self._where.partition("=")[2])}'
    return text


def _with_imports(binding: str) -> str:
  """Returns a binding after the imports that its names need.

  A flag may so name any function of the package, whether or not a gin file
  named it before.
  """
  modules = set(_MODULE.findall(binding))
  if '@' not in binding or not modules <= _IMPORTS.keys():
    return binding
  lines = ['from __gin__ import dynamic_registration']
  lines += [f'from {_IMPORTS[x]} import {x}' for x in sorted(modules)]
  return '\n'.join([*lines, binding])


def _is_python(value: str) -> bool:
  try:
    gin.config.parse_value(value)
  except _NOT_PYTHON:
    return False
  return True


def _nearest_file(name: str) -> str:
  folder = gin_paths.folder()
  files = [p.relative_to(folder).as_posix() for p in folder.rglob('*.gin')]
  return nearest(name, files)


def _is_raised_by_gin(error: BaseException) -> bool:
  """Returns whether gin raised an error, or a parser that gin calls."""
  if isinstance(error, SyntaxError):
    return not str(error.filename).endswith('.py')
  own = pathlib.Path(gin.__file__).parent
  for frame in reversed(traceback.extract_tb(error.__traceback__)):
    path = pathlib.Path(frame.filename)
    if path.name in ('ast.py', 'tokenize.py', 'utils.py') and (
      path.parent == own or 'site-packages' not in path.parts
    ):
      continue
    return path.parent == own
  return False
