"""The site of the documentation: no dead links, every public name on it."""

import ast
import html.parser
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

import pytest

from tests.paths import ROOT

needs_mkdocs = pytest.mark.skipif(
  any(
    importlib.util.find_spec(name) is None
    for name in ('mkdocs', 'material', 'mkdocstrings_handlers')
  ),
  reason='needs the extra `docs`: mkdocs, mkdocs-material, mkdocstrings',
)
LINK = re.compile(r'\]\(([^)\s]+)\)')
FENCED = re.compile(r'^ *```.*?^ *```', re.MULTILINE | re.DOTALL)
# What a browser fetches by itself, and not when somebody clicks.
FETCHED = {('img', 'src'), ('script', 'src'), ('link', 'href')}


def tracked(*patterns):
  """The files that git knows, relative to the checkout."""
  done = subprocess.run(
    ('git', 'ls-files', '-z', *patterns),
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  if done.returncode:
    pytest.skip('needs a checkout with git, which says what belongs to it')
  files = (pathlib.Path(name) for name in done.stdout.split('\0') if name)
  return [path for path in files if (ROOT / path).is_file()]


def test_links_between_pages_lead_to_files():
  for page in tracked('*.md'):
    text = FENCED.sub('', (ROOT / page).read_text(encoding='utf-8'))
    for link in LINK.findall(text):
      found = urllib.parse.urlsplit(link)
      if not found.scheme and found.path:
        assert (ROOT / page.parent / found.path).is_file(), (
          f'{page} links to {link}, which is not a file.'
        )


class Page(html.parser.HTMLParser):
  """What a page links to, what it fetches, and its anchors."""

  def __init__(self, text):
    super().__init__()
    self.links, self.fetched, self.anchors = set(), set(), set()
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    for name, value in attrs:
      if name in ('id', 'name') and value:
        self.anchors.add(value)
      if name in ('href', 'src') and value:
        self.links.add(value)
        if (tag, name) in FETCHED:
          self.fetched.add(value)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  """Builds the site from a copy of what git knows; returns its pages."""
  folder = tmp_path_factory.mktemp('site')
  for path in tracked():
    (folder / 'checkout' / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / path, folder / 'checkout' / path)
  done = subprocess.run(
    [sys.executable, '-m', 'mkdocs', 'build', '--strict']
    + ['-f', 'docs/mkdocs.yml', '-d', str(folder / 'site')],
    cwd=folder / 'checkout',
    env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert 'WARNING' not in done.stderr, done.stderr
  return {
    path: Page(path.read_text(encoding='utf-8'))
    for path in (folder / 'site').rglob('*.html')
  }


@pytest.mark.docs
@needs_mkdocs
def test_no_link_of_the_site_is_dead(site):
  (root,) = (path.parent for path in site if path.name == '404.html')
  for path, page in site.items():
    for link in page.links:
      found = urllib.parse.urlsplit(link)
      if found.scheme or found.netloc:
        continue
      place = urllib.parse.unquote(found.path)
      target = path
      if place:
        start = root if place.startswith('/') else path.parent
        target = (start / place.lstrip('/')).resolve()
        target = target / 'index.html' if target.is_dir() else target
      where = f'{path.relative_to(root)} links to {link}'
      assert target.is_file(), f'{where}, which is not there.'
      if anchor := urllib.parse.unquote(found.fragment):
        assert anchor in site[target].anchors, f'{where}: no such anchor.'


@pytest.mark.docs
@needs_mkdocs
def test_the_site_fetches_nothing_from_elsewhere(site):
  for path, page in site.items():
    for link in page.fetched:
      assert not urllib.parse.urlsplit(link).netloc, f'{path} fetches {link}.'


def public_names():
  """The names that the `__init__` of each folder hands on."""
  for path in sorted((ROOT / 'moe_lite').rglob('__init__.py')):
    folder = '.'.join(path.parent.relative_to(ROOT).parts)
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
      if isinstance(node, ast.Assign) and node.targets[0].id == '__all__':
        yield from (f'{folder}.{name}' for name in ast.literal_eval(node.value))


@pytest.mark.docs
@needs_mkdocs
def test_every_public_name_is_in_the_reference(site):
  """A name without a docstring is not in it, as mkdocs.yml has it."""
  documented = {
    anchor
    for path, page in site.items()
    if 'reference/api' in path.as_posix()
    for anchor in page.anchors
  }
  names = list(public_names())
  assert len(names) > 50
  for name in names:
    assert name in documented, (
      f'{name} is not in docs/reference/api: give it a docstring, and its '
      'folder a page.'
    )
