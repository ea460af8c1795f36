"""The command that shows what the routers of a run do, on one page."""
