"""The peer: Hugging Face's T5 with PEFT's adapters, in eager PyTorch."""

import numpy as np
import peft
import torch
import transformers

from tests.benchmarks.contestant import Contestant, Sizes

LIBRARY = 'transformers + peft'
SITES = ('q', 'k', 'v', 'o', 'wi_0', 'wo')


def contestant(
  method: str,
  sizes: Sizes,
  dtype: str,
  batch: dict[str, np.ndarray],
  rank: int,
  learning_rate: float,
) -> Contestant | None:
  """PEFT's form of a method; None where it has none."""
  if method not in ('full', 'ia3', 'lora'):
    return None
  config = transformers.T5Config(
    vocab_size=sizes.vocab_size,
    d_model=sizes.emb_dim,
    d_kv=sizes.head_dim,
    d_ff=sizes.mlp_dim,
    num_heads=sizes.num_heads,
    num_layers=sizes.num_layers,
    num_decoder_layers=sizes.num_layers,
    feed_forward_proj='gated-gelu',
    tie_word_embeddings=False,
    dropout_rate=0.0,
  )
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  network = transformers.T5ForConditionalGeneration(config)
  # Transformers 5 may tie the head whatever the config says; a frozen head
  # costs the same, a trained one does not.
  head = torch.empty(sizes.vocab_size, sizes.emb_dim).normal_(
    std=sizes.emb_dim**-0.5
  )
  network.lm_head.weight = torch.nn.Parameter(head)
  network = network.to(device, getattr(torch, dtype))
  if method == 'ia3':
    network = peft.get_peft_model(
      network,
      peft.IA3Config(
        task_type='SEQ_2_SEQ_LM',
        target_modules=['k', 'v', 'wo'],
        feedforward_modules=['wo'],
      ),
    )
  elif method == 'lora':
    network = peft.get_peft_model(
      network,
      peft.LoraConfig(
        task_type='SEQ_2_SEQ_LM',
        target_modules=list(SITES),
        r=rank,
        lora_alpha=16,
        lora_dropout=0.0,
      ),
    )
  network.train()
  trainable = [p for p in network.parameters() if p.requires_grad]
  optimizer = torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=0.0)
  tensors = {
    name: torch.as_tensor(batch[ours], dtype=torch.long, device=device)
    for name, ours in (
      ('input_ids', 'encoder_input_tokens'),
      ('decoder_input_ids', 'decoder_input_tokens'),
      ('labels', 'decoder_target_tokens'),
    )
  }
  tensors['attention_mask'] = (tensors['input_ids'] > 0).long()

  def step() -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = network(**tensors, use_cache=False).loss
    loss.backward()
    optimizer.step()
    return loss.item()

  return Contestant(
    LIBRARY, method, step, {'trainable': sum(p.numel() for p in trainable)}
  )


def versions() -> dict[str, str]:
  """Of what ran."""
  return {
    'torch': torch.__version__,
    'transformers': transformers.__version__,
    'peft': peft.__version__,
    'torch_threads': str(torch.get_num_threads()),
  }
