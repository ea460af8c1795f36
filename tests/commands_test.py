"""From one command to the next, as a user would run them."""

import json
import pathlib
import shlex

import gin
import numpy as np
import pytest

import moe_lite
from moe_lite.checkpoints import bases
from moe_lite.checkpoints.exported import load
from moe_lite.convert import command
from moe_lite.evaluation import results
from moe_lite.inference import predictions
from moe_lite.process import cli
from moe_lite.training import run_folder
from tests import permissions, tiny_task
from tests.paths import ROOT

ENTRIES = {
  'moe_lite.train': ('training.train', 'runs/finetune.gin'),
  'moe_lite.eval': ('evaluation.evaluate', 'runs/eval.gin'),
  'moe_lite.infer': ('inference.infer', 'runs/infer.gin'),
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  permissions.give_to_another_group(tmp_path)
  with permissions.follow_the_umask(tmp_path):
    yield
  gin.clear_config()


def run(monkeypatch, module, *arguments):
  """The exit code of `python -m module arguments`."""
  argv = [module, *arguments]
  monkeypatch.setattr('sys.argv', argv)
  return cli.main(*ENTRIES[module], argv)


def files(*names):
  return [f'--gin_file={name}.gin' for name in names]


MINI = files('models/t5_1_1_mini', 'methods/mov')
# What the run must be evaluated with, too: no macro holds it.
ROUTES_INPUTS = "--gin.adapters.MoV.router_reads='inputs'"
# One task of the suite is enough here; TensorFlow takes a while for all.
ONE_TASK = "--gin.MIXTURE_OR_TASK_NAME='mini_kinds_choose'"
ONE_RANKED = "--gin.MIXTURE_OR_TASK_NAME='mini_who_blank_score_eval'"


def test_training_ends_with_a_command_that_evaluates_the_run(
  monkeypatch, capsys
):
  code = run(
    monkeypatch,
    'moe_lite.train',
    *MINI,
    *files('data/mini', 'runs/finetune'),
    *('--gin.NUM_EXPERTS=3', ROUTES_INPUTS, '--gin.TRAIN_STEPS=1'),
    *(ONE_TASK, "--gin.MODEL_DIR='runs/x'", '--gin.BATCH_SIZE=2'),
  )
  error = capsys.readouterr().err
  assert code == 0, error
  _, _, module, *arguments = shlex.split(error.strip().splitlines()[-1])
  assert module == 'moe_lite.eval'
  assert run(monkeypatch, module, *arguments, ONE_RANKED) == 0
  outcome = json.loads(pathlib.Path('runs/x/eval', results.JSON).read_text())
  assert outcome['complete'] and outcome['checkpoint']['step'] == 1
  assert "router_reads='inputs'" in outcome['checkpoint']['method']['key']
  assert outcome['settings']['mixture_or_task_name'].startswith('mini_who')

  argv = ['convert', 'export', 'runs/x', '--to=mine']
  assert cli.guard(command.convert, argv, None) == 0
  _, description = load('mine')
  config = description.to_json()
  assert config['network']['emb_dim'] == 128
  assert config['training']['data'] == 'mini_kinds_choose'
  assert config['method'] == outcome['checkpoint']['method']
  assert config['text'] == {'inputs_eos': False, 'extra_ids': 32}
  facts = moe_lite.load('mini', 'mine').facts
  for key in ('base', 'method', 'trainable_fingerprint'):
    assert facts[key] == outcome['checkpoint'][key]


TINY = [f'--gin_file={ROOT}/tests/tiny.gin']


def infer(monkeypatch, *arguments):
  """Runs inference on the frozen base 'made'; its code and predictions."""
  code = run(
    monkeypatch,
    'moe_lite.infer',
    *TINY,
    *files('methods/mov', 'runs/infer'),
    *("--gin.CHECKPOINT_PATH='base'", '--gin.BATCH_SIZE=4'),
    *("--gin.INITIAL_CHECKPOINT_PATH='made'", "--gin.INFER_OUTPUT_DIR='out'"),
    "--gin.MIXTURE_OR_TASK_NAME='tiny_task'",
    *arguments,
  )
  path = pathlib.Path('out', predictions.PREDICTIONS)
  lines = path.read_text().splitlines() if path.exists() else []
  return code, [json.loads(line) for line in lines]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A base that was pretrained and exported by command."""
  folder = tmp_path_factory.mktemp('made')
  argv = [
    'train',
    *(*TINY, *files('runs/pretrain')),
    f"--gin.MODEL_DIR='{folder}/run'",
    *('--gin.BATCH_SIZE=4', '--gin.TRAIN_STEPS=2'),
  ]
  assert cli.main('training.train', 'runs/pretrain.gin', argv) == 0
  gin.clear_config()
  argv = ['x', 'export_base', f'{folder}/run', f'--to={folder}/base']
  argv += ['--dtype=bfloat16']
  assert cli.guard(command.convert, argv, None) == 0
  return folder / 'base'


@pytest.fixture
def linked(made, tmp_path):
  (tmp_path / 'made').symlink_to(made)


def test_a_task_is_predicted_in_order_and_an_interruption_loses_nothing(
  linked, monkeypatch
):
  code, whole = infer(monkeypatch)
  assert code == 0
  assert [p['inputs'] for p in whole] == [
    f'say {tiny_task.WORDS[i % 4]} {i}' for i in range(40)
  ]
  assert whole[1]['targets'] == 'green' and 'prediction' in whole[1]
  # Cut off in the middle of a line, in the middle of a batch.
  path = pathlib.Path('out', predictions.PREDICTIONS)
  path.write_text(path.read_text()[:-30])
  assert infer(monkeypatch) == (0, whole)


def test_an_edited_file_is_predicted_anew(linked, monkeypatch):
  path = pathlib.Path('questions.txt')
  for color in ('blue', 'black'):
    path.write_text(f'say red\n\nsay {color}\n')
    code, lines = infer(monkeypatch, "--gin.INFER_INPUT='questions.txt'")
    assert code == 0
    assert [p['inputs'] for p in lines] == ['say red', f'say {color}']


@pytest.mark.parametrize(
  'mistake, message',
  [
    ('--gin.NUM_DECODES=3', 'NUM_DECODES = 3'),
    ('--gin.BATCH_SIZE=0', 'BATCH_SIZE = 0'),
    ("--gin.INFER_INPUT='nowhere.txt'", 'is not a file'),
    ("--gin.MIXTURE_OR_TASK_NAME='tiny_mixture'", 'is a mixture'),
  ],
)
def test_a_mistake_leaves_predictions_as_they_were(
  linked, monkeypatch, capsys, mistake, message
):
  out = pathlib.Path('out')
  out.mkdir()
  (out / predictions.PREDICTIONS).write_text('{"prediction": "kept"}\n')
  code, lines = infer(monkeypatch, mistake)
  assert code == 2 and message in capsys.readouterr().err
  assert lines == [{'prediction': 'kept'}]


def test_a_base_is_exported_once(made, capsys):
  argv = ['x', 'export_base', f'{made.parent}/run', f'--to={made}']
  assert cli.guard(command.convert, argv, None) == 2
  assert 'exists already' in capsys.readouterr().err
  metadata = json.loads((made / 'metadata.json').read_text())
  assert metadata['step'] == 2 and metadata['dtype'] == 'bfloat16'
  assert np.char.isalnum(metadata['fingerprint'])


def test_a_run_is_exported_as_the_network_of_its_configuration(made):
  """The configuration that the user names, and no other."""
  config = made.parent / 'run' / run_folder.CONFIG
  text = config.read_text()
  binding = 't5.T5Config.mlp_dim ='
  assert binding in text
  # What no leaf's shape tells.
  config.write_text(
    text.replace(
      binding, f"t5.T5Config.mlp_activations = ('silu', 'linear')\n{binding}"
    )
  )
  argv = ['x', 'export_hf', f'{made.parent}/run']
  kinds = {}
  for to, named in (('said', []), ('hf', [f'--gin_file={config}'])):
    code = cli.guard(command.convert, [*argv, f'--to={to}', *named], None)
    assert code == 0
    described = json.loads(pathlib.Path(to, 'config.json').read_text())
    kinds[to] = described['feed_forward_proj']
  config.write_text(text)
  assert kinds == {'said': 'gated-gelu', 'hf': 'gated-silu'}
  exported = bases.read(str(made))
  for name, leaf in bases.read('hf').items():
    np.testing.assert_array_equal(
      leaf.astype(exported[name].dtype), exported[name]
    )


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['exprot_base'], "Did you mean 'export_base'"),
    (['export_base'], 'Give one folder'),
    (['export_base', 'nowhere', '--to=x'], 'there is no base'),
  ],
)
def test_conversion_names_mistakes(arguments, message, capsys):
  assert cli.guard(command.convert, ['x', *arguments], None) == 2
  assert message in capsys.readouterr().err


@pytest.mark.slow
def test_scores_all_decodes_and_shards(linked, monkeypatch):
  beams = ('--gin.DECODER=@decoding.beam_search', '--gin.NUM_DECODES=3')
  _, plain = infer(monkeypatch, *beams)
  code, lines = infer(
    monkeypatch, *beams, "--gin.INFER_MODE='predict_with_aux'"
  )
  assert code == 0 and len(lines) == 40
  for line, without in zip(lines, plain, strict=True):
    assert len(line['predictions']) == len(line.pop('scores')) == 3
    assert line == without and line['prediction'] == line['predictions'][0]

  draws = ('--gin.DECODER=@decoding.sample', '--gin.NUM_DECODES=2')
  _, drawn = infer(monkeypatch, *draws)
  assert any(len(set(line['predictions'])) == 2 for line in drawn)

  # The score of a prediction is that of a target with its text.
  mode = "--gin.INFER_MODE='predict_with_aux'"
  _, greedy = infer(monkeypatch, mode)
  code, scored = infer(monkeypatch, "--gin.INFER_MODE='score'")
  assert code == 0 and all(line['score'] < 0 for line in scored)
  assert 'prediction' not in scored[0] and len(greedy[0]['scores']) == 1

  parts = []
  for shard in range(3):
    flags = (f'--gin.SHARD_ID={shard}', '--gin.NUM_SHARDS=3', mode)
    assert infer(monkeypatch, *flags)[0] == 0
    path = pathlib.Path('out', f'shard_{shard}_of_3', predictions.PREDICTIONS)
    parts += [json.loads(line) for line in path.read_text().splitlines()]
  texts = lambda lines: [x['prediction'] for x in lines]
  assert texts(parts) == texts(greedy)
  assert infer(monkeypatch, '--gin.SHARD_ID=1')[0] == 2
  code, _ = infer(monkeypatch, "--gin.INFER_MODE='score'", *draws[:0])
  pathlib.Path('in.txt').write_text('say red\n')
  score = ("--gin.INFER_INPUT='in.txt'", "--gin.INFER_MODE='score'")
  assert infer(monkeypatch, *score)[0] == 2
