"""The data sets of the mini suite, by what they are for."""

from tasks.mini.held_out_sets import HELD_OUT
from tasks.mini.prompts import DataSet
from tasks.mini.training_sets import TRAINING

DATA_SETS: tuple[DataSet, ...] = (*TRAINING, *HELD_OUT)
