"""Measuring a run on tasks: from scores to tables, files and pictures.

A thing belongs here if it turns what a model says into numbers about tasks.
"""

from moe_lite.core import facade

__all__ = ['evaluate']

__getattr__ = facade.lazy(__name__, {'evaluate': 'loop'})
