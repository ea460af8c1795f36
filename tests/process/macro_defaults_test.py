"""The defaults of macros are those that the gin files assign."""

from moe_lite.process import gin_paths, macro_defaults, macros


def test_the_table_has_what_the_gin_files_assign():
  for macro, default in {
    'SEED': '`0`',
    'MODEL_DIR': 'required',
    'NUM_EXPERTS': '`10` in molora; `30` in mov',
    'SCAN_LAYERS': '`True`; `False` in t5_1_1_mini',
    'ROUTER': 'by file',
    'ADAPTERS': 'by file',
  }.items():
    assert macro_defaults.markdown(macro) == default


def test_every_macro_has_a_default_or_is_required():
  for macro in macros.TABLE:
    assert gin_paths.providers(macro.name) or (
      macro_defaults.markdown(macro.name) == 'required'
    )
