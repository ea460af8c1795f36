"""Flags of XLA for tests: programs that compile quickly, and fake devices."""

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


def device_flags(number: int) -> str:
  """Returns XLA_FLAGS for a process that sees so many devices."""
  count = f'--xla_force_host_platform_device_count={number}'
  return f'{QUICKLY_COMPILED} {count}'
