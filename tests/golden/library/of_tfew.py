"""Numbers of T-Few's losses (arXiv 2205.05638), from its own code."""

import pathlib
from types import SimpleNamespace

import foreign
import torch
from drawing import draw


def losses(root: pathlib.Path) -> dict:
  module = foreign.load(
    root,
    'src.models.EncoderDecoder',
    bare=['src.utils'],
    absent=[
      'deepspeed',
      'pytorch_lightning',
      'src.utils.get_optimizer',
      'src.utils.get_scheduler',
    ],
  )
  B, C, T, V = 3, 4, 5, 11
  logits = draw(70, B, C, T, V, scale=1.5)
  # Zero is padding; some choices are short, one fills the row.
  labels = torch.randint(
    1, V, (B, C, T), generator=torch.Generator().manual_seed(71)
  )
  lengths = torch.tensor([[5, 3, 2, 1], [1, 2, 4, 5], [3, 3, 2, 4]])
  labels[torch.arange(T) >= lengths[..., None]] = 0
  right = torch.tensor([2, 0, 3])

  class Network:
    def encoder(self, input_ids, attention_mask):
      del attention_mask
      return (torch.zeros(*input_ids.shape, 1),)

    def __call__(self, **inputs):
      del inputs
      return SimpleNamespace(logits=logits.flatten(0, 1))

  class Trainer(module.EncoderDecoder):
    global_step = 1

    def log_dict(self, logged):
      self.logged = logged

  batch = {
    'input_ids': torch.ones(B, 2, dtype=torch.int64),
    'answer_choices_ids': labels,
    'labels': right,
    'idx': torch.arange(B),
  }
  results = {
    'logits': logits,
    'labels': labels,
    'lengths': lengths,
    'right': right,
  }
  for power in (0, 1):
    config = SimpleNamespace(
      compute_strategy='none',
      fishmask_mode=None,
      length_norm=power,
      load_weight='',
      mc_loss=1,
      model_modifier=None,
      save_step_interval=2,
      split_option_at_inference=False,
      unlikely_loss=1,
    )
    tokenizer = SimpleNamespace(pad_token_id=0)
    trainer = Trainer(config, tokenizer, Network(), None)
    trainer.training_step(batch, 0)
    mark = f'length_norm_{power}'
    results |= {f'{mark}/{k}': v for k, v in trainer.logged.items()}
    found = trainer.predict(batch)
    results[f'{mark}/prediction'] = torch.tensor(found['prediction'])
    results[f'{mark}/right_score'] = torch.tensor(found['log.score_gt'])
    results[f'{mark}/least_wrong_score'] = torch.tensor(found['log.score_cand'])
  return results
