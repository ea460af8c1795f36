#!/usr/bin/env bash
# Measures on a GPU, in one run of a few minutes, and ends with a table.
#
#   bash tests/benchmarks/gpu.sh [FOLDER]
#
# Needs torch, transformers and PEFT beside jax for CUDA. PYTHON names another
# interpreter. TINY=1 rehearses everything at tiny sizes, also on a CPU. What a
# step prints lies in FOLDER, ./gpu_results by default; one that fails is named,
# and the others go on.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-gpu_results}")
python=${PYTHON:-python}
mkdir -p "$out"
# PyTorch takes memory of the same device.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda,cpu}
failed=()

step() {  # step NAME SECONDS COMMAND...
  local name=$1 seconds=$2
  shift 2
  echo "== $name"
  SECONDS=0
  if ! timeout "$seconds" "$@" >"$out/$name.jsonl" 2>"$out/$name.log"; then
    failed+=("$name")
    tail -n 5 "$out/$name.log"
  fi
  echo "   $SECONDS s"
}

sizes_of() {
  case $1 in
    tiny) echo --emb_dim=64 --mlp_dim=128 --num_heads=2 --head_dim=32 \
      --num_layers=1 --vocab_size=512 --batch=2 --input_length=32 \
      --target_length=8 --repeats=2 ;;
    base) echo --emb_dim=768 --mlp_dim=2048 --num_heads=12 --num_layers=12 \
      --batch=32 --input_length=512 --target_length=128 --repeats=8 ;;
    large) echo --emb_dim=1024 --mlp_dim=2816 --num_heads=16 --num_layers=24 \
      --batch=16 --input_length=512 --target_length=128 --repeats=8 ;;
  esac
}

if [[ -n ${TINY:-} ]]; then
  rate=(--side=256) sizes=(tiny) decoding=(--rows=2 --inputs=16 --outputs=4 --layers=1 --repeats=2)
else
  rate=() sizes=(base large) decoding=(--rows=32 --inputs=512 --outputs=64 --layers=12 --repeats=3)
fi
step versions 60 "$python" -c "import jax; print(jax.__version__, jax.devices())"
step matmul_rate 60 "$python" -m tests.benchmarks.matmul_rate "${rate[@]}"
step agreement 120 "$python" -m tests.benchmarks.agreement
step tests 120 "$python" -m pytest -q -m gpu tests/gpu_test.py
for size in "${sizes[@]}"; do
  # shellcheck disable=SC2046
  step "train_$size" 180 "$python" -m tests.benchmarks.train_step --peer \
    --dtype=bfloat16 $(sizes_of "$size")
done
step decoding 120 "$python" -m tests.benchmarks.decoding "${decoding[@]}"

"$python" -m tests.benchmarks.gpu_table "$out" | tee "$out/table.md"
if ((${#failed[@]})); then
  echo "error: these failed, see their .log in $out: ${failed[*]}" >&2
  exit 1
fi
echo "Everything is in $out."
