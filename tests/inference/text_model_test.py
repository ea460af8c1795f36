"""Answers of a loaded model: evaluation's and inference's, compiled once."""

import warnings

import jax
import numpy as np
import pytest

import moe_lite
from moe_lite.core.errors import UserError
from moe_lite.inference import generation, generation_options
from moe_lite.inference.padding import Input, Shapes
from moe_lite.inference.source import ModelSource
from moe_lite.models import decoding
from moe_lite.routing.statistics import by_router, usages
from tests import tiny_export

TEXTS = [
  'Is a robin a bird?',
  'The heron eats fish. Is a heron a bird? Yes or no?',
  'robin',
]
CHOICES = [['yes', 'no'], ['anna', 'ben', 'the drum'], ['bird']]


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  """A base and adapters on it."""
  folder = tmp_path_factory.mktemp('text_model')
  base = tiny_export.write_base(folder / 'base')
  return base, tiny_export.write(folder / 'exported', base)


@pytest.fixture(scope='module')
def model(paths):
  return moe_lite.load(*paths, batch_size=4)


@pytest.fixture(scope='module')
def trained(paths):
  """The same as evaluation and inference load it."""
  base, run = paths
  return ModelSource(
    tiny_export.model(base), run, base, base_dtype='float32'
  ).load()


class Compiled:
  """Counts what XLA compiles."""

  def __init__(self):
    self.count = 0

  def __enter__(self):
    jax.monitoring.register_event_duration_secs_listener(self._listen)
    return self

  def __exit__(self, *_):
    jax.monitoring.unregister_event_duration_listener(self._listen)

  def _listen(self, event, *_, **__):
    self.count += event == '/jax/core/compile/backend_compile_duration'


@pytest.mark.parametrize(
  'decode_fn, num_beams',
  [
    (decoding.greedy, 1),
    pytest.param(decoding.beam_search, 2, marks=pytest.mark.slow),
  ],
)
def test_generate_is_what_inference_writes(
  model, trained, decode_fn, num_beams
):
  generator = generation.Generator(
    trained, Shapes(4, 64, 8), decode_fn, num_beams
  )
  inputs = [Input(model.vocabulary.encode(text)) for text in TEXTS]
  (rows,) = generator(inputs)
  wanted = [model.vocabulary.decode(row.tolist()) for row in rows]
  assert model.generate(TEXTS, 8, num_beams=num_beams) == wanted
  one = model.generate(TEXTS[0], 8, num_beams=num_beams)
  assert one == wanted[0]


def test_draws_follow_the_seed(model):
  draw = lambda seed: model.generate(TEXTS, 8, top_k=50, seed=seed)
  with Compiled() as compiled:
    first = draw(0)
  assert compiled.count  # What is counted is what compiles.
  with Compiled() as compiled:
    assert draw(0) == first != draw(1)
  assert not compiled.count


@pytest.mark.parametrize('options', [{'num_beams': 3}, {'temperature': 0.5}])
def test_several_texts_of_an_input_have_scores(model, options):
  n, question = 3, 'The heron eats fish. What does the heron eat?'
  mini = moe_lite.load('mini', batch_size=2)
  found = mini.generate(
    [question, TEXTS[2]],
    20,
    num_return_sequences=n,
    return_scores=True,
    **options,
  )
  assert [len(x) for x in found] == [n, n]
  texts = [x.text for x in found[0]]
  scores = [x.score for x in found[0]]
  np.testing.assert_allclose(scores, mini.score(question, texts), atol=1e-4)
  assert mini.generate(
    [question, TEXTS[2]], 20, num_return_sequences=n, **options
  ) == [[x.text for x in of_input] for of_input in found]


def test_the_form_of_the_answer_follows_what_is_asked(model):
  best = model.generate(TEXTS[0], 8, num_beams=2)
  with Compiled() as compiled:  # A search always computes all of its beams.
    two = model.generate(TEXTS[0], 8, num_beams=2, num_return_sequences=2)
    one = model.generate(TEXTS[0], 8, num_beams=2, num_return_sequences=1)
  assert not compiled.count
  assert one == [best] == two[:1] and two[0] != two[1]
  scored = model.generate(TEXTS[0], 8, num_beams=2, return_scores=True)
  assert isinstance(scored, generation_options.Generated)
  assert scored.text == best


def test_a_text_that_is_cut_off_is_scored_without_an_end(model):
  scored = model.generate(TEXTS[0], 3, return_scores=True)
  ended = model.score(TEXTS[0], [scored.text])
  # EOS, and what another split into ids makes of it, cost something.
  assert scored.score > ended[0] + 1e-3


def test_scores_are_those_of_whole_rows_whatever_their_batch(model, trained):
  inputs, targets = (np.zeros((6, n), np.int32) for n in (32, 8))
  pairs = [(x, y) for x, ys in zip(TEXTS, CHOICES, strict=True) for y in ys]
  for i, pair in enumerate(pairs):
    source, target = map(model.vocabulary.encode, pair)
    inputs[i, : len(source)] = source
    targets[i, : len(target) + 1] = [*target, 1]
  batch = {
    'encoder_input_tokens': inputs,
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    'decoder_target_tokens': targets,
  }
  wanted = jax.jit(trained.model.score_batch)(trained.params, batch)
  scores = model.score(TEXTS, CHOICES)
  assert [x.shape for x in scores] == [(2,), (3,), (1,)]
  np.testing.assert_allclose(np.concatenate(scores), wanted, rtol=1e-5)
  alone = model.score(TEXTS[0], CHOICES[0])
  assert alone.dtype == np.float32
  np.testing.assert_allclose(alone, scores[0], rtol=1e-5)
  # The same choices for all.
  same = model.score(TEXTS, CHOICES[1])
  np.testing.assert_allclose(same[1], scores[1], rtol=1e-5)


def test_a_second_call_compiles_nothing(model):
  def use(text, more):
    model.generate(text, 8)
    model.score(text, ['yes', more])
    model.routing(text, more)

  use('the red robin', 'no, never')
  with Compiled() as compiled:
    use('is a heron a fish', 'maybe not')
  assert not compiled.count


def test_routing_adds_up_to_what_reports_sum(model, trained):
  routed = model.routing(TEXTS[0], 'yes it is')
  targets = np.array([[*model.vocabulary.encode('yes it is'), 1]])
  batch = {
    'encoder_input_tokens': np.array([model.vocabulary.encode(TEXTS[0])]),
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    'decoder_target_tokens': targets,
  }
  sums = jax.jit(trained.model.routing_batch)(trained.params, batch)
  summed = usages(sums)
  assert routed.routers.keys() == summed.keys() and len(summed) == 5
  for name, usage in summed.items():
    router = routed.routers[name]
    assert len(router.tokens) == usage.tokens
    np.testing.assert_allclose(
      router.probabilities.sum(0), usage.probability, rtol=1e-5
    )
    np.testing.assert_allclose(router.weights.sum(-1), 1, rtol=1e-5)
    if name.endswith('key'):
      heads = router.by_head
      assert heads.shape == (usage.tokens, 2, 2)
      np.testing.assert_allclose(heads.mean(1), router.probabilities, 1e-6)
    else:
      assert router.by_head is None
      # Two of three experts mix.
      assert ((router.weights > 0).sum(-1) == 2).all()
  assert routed.target_tokens[-1] == '</s>'
  cross = routed.routers['decoder/layers_0/encoder_decoder_attention/key']
  assert cross.tokens == routed.tokens


def test_without_a_target_the_encoder_routes_alone(model):
  alone, both = model.routing(TEXTS[0]), model.routing(TEXTS[0], 'yes')
  assert len(alone.routers) == 2 and not alone.target_tokens
  assert alone.tokens[:2] == ['▁is', '▁a']
  for name, router in alone.routers.items():
    np.testing.assert_allclose(
      router.probabilities, both.routers[name].probabilities, rtol=1e-5
    )


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_scanned_network_routes_alike(model, paths, dtype, monkeypatch):
  monkeypatch.setattr('moe_lite.inference.loading.UNROLLED_LAYERS', 0)
  scanned = moe_lite.load(*paths, dtype=dtype)
  assert scanned.network.scan_layers
  one, other = (x.routing(TEXTS[0], 'yes') for x in (model, scanned))
  assert one.routers.keys() == other.routers.keys()
  for name, router in one.routers.items():
    found = other.routers[name].probabilities
    tolerance = 1e-5 if dtype == 'float32' else 0.1
    np.testing.assert_allclose(router.probabilities, found, atol=tolerance)


def test_routing_is_shown_and_written(model, tmp_path):
  routed = model.routing(TEXTS[0], 'yes')
  text = repr(routed)
  assert text.startswith('▁is ▁a ▁robin ▁a ▁bird ? -> ▁yes </s>\n')
  assert '| encoder/layers_0/attention/key ' in text
  name = 'encoder/layers_0/mlp/intermediate'
  assert len(routed.table(name).split('\n')) == 2 + len(routed.tokens)
  with pytest.raises(UserError, match=f"Did you mean '{name}'"):
    routed.table(name + 's')
  found = routed.to_dict()['routers'][name]
  assert found['tokens'] == routed.tokens
  assert np.shape(found['probabilities']) == (6, 3)
  routed.plot(tmp_path / 'both.png', 'decoder')
  assert (tmp_path / 'both.png').stat().st_size > 1000
  with pytest.raises(UserError, match=r'give routing\(\) a target'):
    model.routing(TEXTS[0]).plot(tmp_path / 'none.png', 'decoder')


def test_long_inputs_are_trimmed_with_a_warning(paths):
  model = moe_lite.load(*paths, max_input_length=10)
  with pytest.warns(UserWarning, match='1 of 2 inputs are trimmed to .* = 10'):
    _, trimmed = model.score(['robin', TEXTS[1]], ['no'])
  start = model.vocabulary.decode(model.vocabulary.encode(TEXTS[1])[:10])
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    _, whole = model.score(['robin', start], ['no'])
  np.testing.assert_allclose(trimmed, whole, rtol=1e-5)


@pytest.mark.parametrize(
  'call, message',
  [
    (lambda m: m.generate([]), 'There are no inputs'),
    (lambda m: m.generate(['a', '']), "The input '' is empty"),
    (lambda m: m.generate(5), 'inputs = 5 must be a text or several'),
    (lambda m: m.generate('a', 0), 'max_length = 0'),
    (lambda m: m.generate('a', max_length='x'), "max_length = 'x'"),
    (lambda m: m.generate('a', seed=-1), 'seed = -1'),
    (lambda m: m.score('a', [1, 2]), 'choices has 1, which is not a text'),
    (lambda m: m.score(['a', 'b'], [['x'], 5]), 'choices has 5'),
    (lambda m: m.generate('a', seed=True), 'seed = True'),
    (
      lambda m: m.generate('a', num_return_sequences=0),
      'num_return_sequences = 0 must be a whole number of at least 1',
    ),
    (
      lambda m: m.generate('a', num_return_sequences=2),
      'gives a single text. Give num_beams=2, or draw',
    ),
    (
      lambda m: m.generate('a', num_beams=2, num_return_sequences=3),
      'is more than num_beams = 2: .* Give num_beams=3',
    ),
    (lambda m: m.generate('a', num_beams=0), 'num_beams = 0'),
    (
      lambda m: m.generate('a', num_beams=2, top_k=3),
      'because beams are not drawn',
    ),
    (lambda m: m.generate('a', temperature=0.0), 'temperature = 0.0'),
    (lambda m: m.score('a', []), 'There are no choices'),
    (lambda m: m.score('a', 'yes'), "choices = 'yes' must be a list"),
    (lambda m: m.score(['a'], [['x'], ['y']]), '2 lists of choices for 1'),
    (lambda m: m.score('a', [['x']]), '1 lists of choices for 1'),
    (lambda m: m.score(['a', 'b'], ['x', ['y']]), 'some are lists'),
    (lambda m: m.routing(''), "The input '' is empty"),
    (lambda m: m.routing(['a']), 'is not a text'),
  ],
)
def test_mistakes_are_named(model, call, message):
  with pytest.raises(UserError, match=message):
    call(model)


def test_texts_may_come_from_a_generator(model):
  texts = [TEXTS[0], TEXTS[2]]
  np.testing.assert_array_equal(
    model.score((x for x in texts), ['yes', 'no']),
    model.score(texts, ['yes', 'no']),
  )


def test_a_method_without_routers_routes_nothing(paths):
  with pytest.raises(UserError, match='There are no routers'):
    moe_lite.load(paths[0]).routing('a robin')


def test_routers_are_named_alike_in_both_forms():
  leaf = np.arange(6).reshape(2, 3)
  stacked = {'encoder': {'layers': {'mlp': {'wo_adapter': {'router': {
    'load': leaf}}}}}}  # fmt: skip
  found = by_router(stacked)
  assert list(found) == ['encoder/layers_0/mlp/wo', 'encoder/layers_1/mlp/wo']
  np.testing.assert_array_equal(
    found['encoder/layers_1/mlp/wo']['load'], leaf[1]
  )
