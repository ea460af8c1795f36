"""Options and environment shared by all tests."""

import importlib
import os

# Set before anything imports JAX: tests must not depend on an accelerator.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Tiny networks are compiled far longer than they run. The emitters of fusions
# take most of that time, and threads that compile cost more than they save
# where every core has tests of its own.
QUICKLY_COMPILED = ' '.join(
  (
    '--xla_backend_optimization_level=0',
    '--xla_llvm_disable_expensive_passes=true',
    '--xla_cpu_use_fusion_emitters=false',
    '--xla_cpu_parallel_codegen_split_count=1',
  )
)
os.environ.setdefault('XLA_FLAGS', QUICKLY_COMPILED)


def device_flags(number):
  """XLA_FLAGS of a process that sees so many devices."""
  count = f'--xla_force_host_platform_device_count={number}'
  return f'{QUICKLY_COMPILED} {count}'


def pytest_addoption(parser):
  parser.addoption(
    '--adapter',
    action='append',
    default=[],
    help='module:Class of an adapter to run through the contract tests.',
  )


def pytest_generate_tests(metafunc):
  if 'adapter_factory' not in metafunc.fixturenames:
    return
  factories = dict(metafunc.module.ADAPTERS)
  if outside := metafunc.config.getoption('adapter'):
    factories = {name: _load(name) for name in outside}
  metafunc.parametrize(
    'adapter_factory', list(factories.values()), ids=list(factories)
  )


def _load(name):
  module, _, attribute = name.partition(':')
  return getattr(importlib.import_module(module), attribute)
