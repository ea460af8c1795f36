"""Types, errors, parameter trees, meshes and files, for all other folders.

A thing belongs here if it knows nothing of networks and runs, and imports from
no other folder of the package.
"""

from moe_lite.core.errors import UserError

__all__ = ['UserError']
