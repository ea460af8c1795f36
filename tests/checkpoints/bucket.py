"""A bucket of Google Cloud Storage on this machine, for tests."""

import contextlib
import http.server
import json
import pathlib
import re
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

NAME = 'a-bucket'
_LIST = re.compile(rf'/storage/v1/b/{NAME}/o\?(.*)')
_OBJECT = re.compile(rf'/storage/v1/b/{NAME}/o/([^?]+)\?.*')


@contextlib.contextmanager
def serve(root: pathlib.Path) -> Iterator[tuple[str, list[str]]]:
  """Serves the files of a folder; gives its address and what was asked for.

  Files can be added, too.

  An object called 'forbidden' may not be read.
  """
  asked: list[str] = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
      if match := _LIST.fullmatch(self.path):
        self.list(urllib.parse.parse_qs(match[1]))
        return
      match = _OBJECT.fullmatch(self.path)
      name = urllib.parse.unquote(match[1]) if match else ''
      asked.append(name or self.path)
      if 'forbidden' in name:
        self.send_response(403)
        self.end_headers()
      elif name and (root / name).is_file():
        contents = (root / name).read_bytes()
        self.send_response(200)
        self.send_header('x-goog-generation', '1')
        self.send_header('Content-Length', str(len(contents)))
        self.end_headers()
        self.wfile.write(contents)
      else:  # Also of the machine's credentials.
        self.send_response(404)
        self.end_headers()

    def do_POST(self) -> None:
      """Takes a new object."""
      query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
      path = root / query['name'][0]
      path.parent.mkdir(parents=True, exist_ok=True)
      contents = self.rfile.read(int(self.headers['Content-Length']))
      path.write_bytes(contents)
      self.send_response(200)
      self.end_headers()
      said = {'name': query['name'][0], 'generation': '1'}
      self.wfile.write(json.dumps(said).encode())

    def list(self, query: dict[str, list[str]]) -> None:
      """What lies between two names, of which the second may be missing."""
      first, end = (query.get(x, [''])[0] for x in ('startOffset', 'endOffset'))
      names = [str(x.relative_to(root)) for x in root.rglob('*')]
      found = [x for x in names if first <= x and not (end and x >= end)]
      found = [x for x in found if x.startswith(query.get('prefix', [''])[0])]
      answer: Any = {'items': [{'name': x} for x in sorted(found)]}
      if forbidden := 'forbidden' in self.path:
        answer = {'error': {'code': 403, 'message': 'Forbidden'}}
      self.send_response(403 if forbidden else 200)
      self.end_headers()
      self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
      pass

  class Server(http.server.ThreadingHTTPServer):
    # Those who find the queue full come again a second later.
    request_queue_size = 128

  server = Server(('127.0.0.1', 0), Handler)
  thread = threading.Thread(target=server.serve_forever)
  thread.start()
  try:
    yield f'127.0.0.1:{server.server_port}', asked
  finally:
    server.shutdown()
    server.server_close()
    thread.join()
