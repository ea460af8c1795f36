"""What everything else may use: types, errors, parameter trees, meshes, files.

A thing belongs here if it knows neither a network nor a run, and no other
folder of the package.
"""

from moe_lite.core.errors import UserError

__all__ = ['UserError']
