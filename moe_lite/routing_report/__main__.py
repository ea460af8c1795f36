"""Shows what routers do: `python -m moe_lite.routing_report`."""

from moe_lite.process import start

if __name__ == '__main__':
  start.run('moe_lite.routing_report.command')
