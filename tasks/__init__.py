"""SeqIO tasks: the mini suite, P3, and what makes tasks of one's own.

`catalog` says of a task what evaluation needs to know beyond its rows.
"""

from moe_lite.data import catalog

__all__ = ['catalog']
