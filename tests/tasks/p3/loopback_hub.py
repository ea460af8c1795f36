"""A hub on this machine: serves one repository, with faults on demand.

As much of the Hugging Face Hub's HTTP interface as its client library needs to
find a revision, to list files by pages, and to download them.
"""

import contextlib
import hashlib
import http.server
import json
import pathlib
import re
import socket
import struct
import threading
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Iterator

COMMIT = 'c0ffee' + '0' * 34
_PAGE = 3


class Hub(http.server.ThreadingHTTPServer):
  """A server of the files under a folder.

  Attributes:
    commits: by revision.
    requests: how often each (method, file) was asked for.
    faults: what is done to a file's next downloads, in order, each one of
      'cut' (half of the body, then the end), 'reset' (then a reset connection),
      'silence' (then nothing), 'wrong size', 404, 429, 500.
    silent: set when a download fell silent.
  """

  daemon_threads = True
  # Those who find the queue full come again a second later.
  request_queue_size = 128

  def __init__(self, root: pathlib.Path, repository: str, kind: str):
    super().__init__(('127.0.0.1', 0), _Handler)
    self.root = root
    self.repository = repository
    self.kind = kind
    self.commits = {'main': COMMIT, COMMIT: COMMIT}
    self.requests: Counter[tuple[str, str]] = Counter()
    self.faults: dict[str, list] = defaultdict(list)
    self.silent = threading.Event()
    self.is_closing = threading.Event()

  @property
  def url(self) -> str:
    return f'http://127.0.0.1:{self.server_port}'

  def shutdown_request(self, request):
    # At once: a server's usual farewell comes before the reset of a connection.
    self.close_request(request)

  def downloads(self) -> list[str]:
    return sorted(file for method, file in self.requests if method == 'GET')


@contextlib.contextmanager
def serve(
  root: pathlib.Path, repository: str, kind: str = 'datasets'
) -> Iterator[Hub]:
  """Serves a repository of a kind, 'datasets' or 'models'."""
  hub = Hub(root, repository, kind)
  thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
  thread.start()
  try:
    yield hub
  finally:
    hub.is_closing.set()
    hub.shutdown()
    hub.server_close()
    thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
  server: Hub
  protocol_version = 'HTTP/1.1'
  disable_nagle_algorithm = True

  def log_message(self, format, *args):
    pass

  def do_HEAD(self):
    self._answer()

  def do_GET(self):
    self._answer()

  def _answer(self):
    url = urllib.parse.urlsplit(self.path)
    query = urllib.parse.parse_qs(url.query)
    path = urllib.parse.unquote(url.path)
    kind, name = self.server.kind, re.escape(self.server.repository)
    # Models lie at the top.
    files = f'/{name}' if kind == 'models' else f'/{kind}/{name}'
    if match := re.fullmatch(f'/api/{kind}/{name}/revision/(.+)', path):
      self._info(match[1])
    elif match := re.fullmatch(f'/api/{kind}/{name}/tree/([^/]+)', path):
      self._tree(match[1], int(query.get('cursor', ['0'])[0]))
    elif match := re.fullmatch(f'{files}/resolve/([^/]+)/(.+)', path):
      self._file(match[1], match[2])
    else:
      self._fail(404, 'RepoNotFound')

  def _info(self, revision):
    if revision not in self.server.commits:
      return self._fail(404, 'RevisionNotFound')
    facts = {
      'id': self.server.repository,
      'sha': self.server.commits[revision],
      'siblings': [
        {'rfilename': str(file.relative_to(self.server.root))}
        for file in self._files()
      ],
    }
    self._send(json.dumps(facts).encode())

  def _files(self):
    return sorted(p for p in self.server.root.rglob('*') if p.is_file())

  def _tree(self, revision, cursor):
    if revision not in self.server.commits.values():
      return self._fail(404, 'RevisionNotFound')
    files = self._files()
    page = [
      {
        'type': 'file',
        'path': str(file.relative_to(self.server.root)),
        'size': file.stat().st_size,
        'oid': '0' * 40,
      }
      for file in files[cursor : cursor + _PAGE]
    ]
    headers = {}
    if cursor + _PAGE < len(files):
      here = f'{self.server.url}{self.path.partition("?")[0]}'
      headers['Link'] = (
        f'<{here}?recursive=True&cursor={cursor + _PAGE}>; rel="next"'
      )
    self._send(json.dumps(page).encode(), headers)

  def _file(self, revision, name):
    self.server.requests[self.command, name] += 1
    path = self.server.root / name
    if revision not in self.server.commits.values() or not path.exists():
      return self._fail(404, 'EntryNotFound')
    content = path.read_bytes()
    headers = {
      'ETag': f'"{hashlib.sha256(content).hexdigest()}"',
      'X-Repo-Commit': revision,
      'Accept-Ranges': 'bytes',
    }
    fault = None
    if self.command == 'GET' and self.server.faults[name]:
      fault = self.server.faults[name].pop(0)
    if isinstance(fault, int):
      after = {'Retry-After': '0'} if fault == 429 else {}
      return self._fail(fault, 'Fault', after)
    first = 0
    if match := re.fullmatch(
      r'bytes=(\d+)-(\d*)', self.headers.get('Range', '')
    ):
      first = int(match[1])
      last = int(match[2]) if match[2] else len(content) - 1
      headers['Content-Range'] = f'bytes {first}-{last}/{len(content)}'
      content = content[first : last + 1]
    body = content
    if fault in ('cut', 'reset', 'silence'):
      body = content[: len(content) // 2]
    if fault == 'wrong size':
      body = content = content[: len(content) // 2]
    status = 206 if 'Content-Range' in headers else 200
    self._send(body, headers, status, len(content))
    if fault == 'silence':
      self.server.silent.set()
      self.server.is_closing.wait()
    if fault == 'reset':
      # What a connection that lingers for no time does at its end.
      at_once = struct.pack('ii', 1, 0)
      self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    if fault in ('cut', 'reset', 'silence'):
      self.close_connection = True

  def _fail(self, status, code, headers=()):
    self._send(b'{}', {'X-Error-Code': code, **dict(headers)}, status)

  def _send(self, body, headers=(), status=200, length=None):
    self.send_response(status)
    for name, value in dict(headers).items():
      self.send_header(name, value)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(length or len(body)))
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(body)
