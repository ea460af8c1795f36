"""How a process ends: what must be over before its interpreter is."""

import subprocess
import sys

SCRIPT = """
import atexit, threading
from moe_lite.process import endings

class Client:
  def key_value_dir_get(self, key):
    return []

# Called last: what was registered later is called first.
atexit.register(lambda: print(sorted(t.name for t in threading.enumerate())))
endings.share(Client(), 0, 2)
assert threading.active_count() == 2
"""


def test_no_thread_asks_the_store_while_the_interpreter_ends():
  """It would be torn out of C++ there, which aborts a run that succeeded."""
  done = subprocess.run(
    [sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == "['MainThread']", done.stderr
