"""Computes golden numbers with the code of other projects, on a CPU.

Each function writes what one project computes from seeded random weights.
README.md beside this file says what the arrays are.

  python tests/golden/library/make.py --mttl PATH --phatgoose PATH --peft PATH \
    --smear PATH --t-few PATH --output tests/golden/library
"""

import argparse
import pathlib

import numpy as np
import of_mttl
import of_peft
import of_phatgoose
import of_smear
import of_tfew
import torch

# The name of a file to the project, and to what computes the file's arrays.
FILES = {
  'phatgoose_router': ('phatgoose', of_phatgoose.router),
  'mttl_arrow': ('mttl', of_mttl.arrow),
  'mttl_mbc': ('mttl', of_mttl.mbc),
  'peft_merge': ('peft', of_peft.merged),
  'peft_poly': ('peft', of_peft.poly),
  'smear_layer': ('smear', of_smear.layer),
  'tfew_losses': ('t_few', of_tfew.losses),
}


def as_array(value) -> np.ndarray:
  """Whole numbers become int32, and all else float32."""
  array = np.asarray(value)
  return array.astype(np.int32 if array.dtype.kind in 'iub' else np.float32)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  for peer in ('mttl', 'phatgoose', 'peft', 'smear', 't-few'):
    parser.add_argument(
      f'--{peer}', type=pathlib.Path, help='its checkout; else it is left out'
    )
  parser.add_argument('--output', type=pathlib.Path, required=True)
  args = parser.parse_args()
  torch.set_num_threads(1)
  for name, (peer, compute) in FILES.items():
    root = getattr(args, peer)
    if root is None:
      continue
    # For the first values of layers that a function leaves alone.
    torch.manual_seed(0)
    with torch.no_grad():
      arrays = {
        key: as_array(value.detach() if torch.is_tensor(value) else value)
        for key, value in compute(root.absolute()).items()
      }
    np.savez_compressed(args.output / f'{name}.npz', **arrays)
    for key, array in arrays.items():
      print(name, key, array.dtype, list(array.shape))


if __name__ == '__main__':
  main()
