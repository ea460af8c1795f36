"""SeqIO tasks: the mini suite, P3, and tools to make tasks of one's own.

`catalog` holds what evaluation needs to know about a task beyond its rows.
"""

from moe_lite.data import catalog

__all__ = ['catalog']
