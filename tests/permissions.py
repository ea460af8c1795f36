"""Whether others of a group can read what was written."""

import contextlib
import os
import stat


@contextlib.contextmanager
def follow_the_umask(folder, umask=0o027):
  """Checks at the end what was written into a folder, which is of a group.

  The default umask lets the group read and enter, and lets others do nothing.
  Every file must have all permissions that the umask leaves, but for those to
  execute. The group of the folder goes on to what is made in it.
  """
  os.chmod(folder, 0o2755)
  before = os.umask(umask)
  try:
    yield
  finally:
    os.umask(before)
  group = folder.stat().st_gid
  for path in folder.rglob('*'):
    about = path.lstat()
    if stat.S_ISLNK(about.st_mode):
      continue
    most = 0o777 if path.is_dir() else 0o666
    found = about.st_mode & 0o777
    assert found == most & ~umask, f'{path} has the permissions {found:o}.'
    assert about.st_gid == group, f'{path} is of another group.'


def give_to_another_group(folder):
  """Gives a folder to a group that new files do not have by themselves."""
  if os.geteuid() == 0:
    os.chown(folder, -1, os.getegid() + 1)
  elif others := {*os.getgroups()} - {os.getegid()}:
    os.chown(folder, -1, min(others))
