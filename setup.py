"""Packaging of moe_lite: dependencies, extras, and what the wheel carries.

The gin files live at the top of the repository, where people edit them, and
travel in the wheel as `moe_lite/gin_files`. `gin/` never gets an `__init__.py`:
anything run from the checkout would then import it instead of gin-config.
"""

import pathlib
import runpy

import setuptools

HERE = pathlib.Path(__file__).parent
# Run rather than imported, as nothing that the package needs is there yet.
VERSION = runpy.run_path(str(HERE / 'moe_lite/core/version.py'))['VERSION']

# Lower bounds are versions the tests passed with on Python 3.11, the newest of
# which are named beside them. Those of jax and what builds on it are new, as
# meshes and memory layouts need them; older ones were not tried.
DEPENDENCIES = [
  'absl-py>=2.1',  # 2.5.1
  'clu>=0.0.12',  # 0.0.12
  'etils[epath]>=1.9',  # 1.15.0
  # JAX asks for it where what it compiles is kept up to a size.
  'filelock>=3.12',  # 4.3.1
  'flax>=0.12.8',  # 0.12.8
  'gin-config>=0.5',  # 0.5.0
  'huggingface_hub>=1.0',  # 2.4.0
  'jax>=0.10.2',  # 0.10.2
  'jinja2>=3.1',  # 3.1.6
  'matplotlib>=3.9',  # 3.11.2
  'ml_dtypes>=0.5',  # 0.6.0
  'numpy>=1.26',  # 2.4.6
  'optax>=0.2.8',  # 0.2.8
  'orbax-checkpoint>=0.12.8',  # 0.12.8
  'pyarrow>=17',  # 26.0.1
  'rouge-score>=0.1.2',  # 0.1.2
  'sacrebleu>=2.4',  # 2.6.0
  'safetensors>=0.5',  # 0.8.0
  'scikit-learn>=1.5.2',  # 1.9.1
  'scipy>=1.14',  # 1.17.1
  'sentencepiece>=0.2',  # 0.2.3
  'seqio>=0.0.20',  # 0.0.20; brings tensorflow-text and -datasets
  # The plain wheel also on CPU: tensorflow-text, which SeqIO needs, depends on
  # it by name, and tensorflow-cpu would install over the same folder.
  'tensorflow>=2.21',  # 2.21.0
  # clu writes TensorBoard's files with it, and does not say so.
  'tensorboard>=2.18',
  'tensorstore>=0.1.74',  # 0.1.86
  'tqdm>=4.66',  # 4.70.1
]

EXTRAS = {
  # setuptools and wheel: a test builds the wheel without a network.
  'test': [
    'pyright>=1.1.400',
    'pytest>=8',
    'pytest-xdist>=3.8',
    'ruff>=0.12',
    'setuptools>=65',
    'wheel>=0.43',
  ],
  # The site of the documentation. ruff breaks the lines of long signatures.
  'docs': [
    'mkdocs>=1.6.1,<2',  # 1.6.1
    'mkdocs-material>=9.6',  # 9.8.2
    'mkdocstrings-python>=2.0',  # 2.0.11
    'ruff>=0.12',
  ],
  'gpu': ['jax[cuda12]>=0.10.2'],
  'tpu': ['jax[tpu]>=0.10.2'],
  # libtpu, of which only the compiler is used.
  'preflight': ['jax[tpu]>=0.10.2'],
  # Beside T5X itself, which installs from its git repository only.
  't5x': [
    'cached_property',
    'chex',
    'fiddle',
    'grain',
    'jaxtyping',
    'jestimator',
    'tensorboard',
  ],
  # The search for the weights of experts.
  'library': ['nevergrad>=1.0.12'],
  # What launch/release.sh builds and checks with.
  'release': ['build>=1.2', 'cffconvert>=2', 'twine>=6'],
  'wandb': ['wandb>=0.19'],
  'hf': ['peft>=0.17', 'torch>=2.5', 'transformers>=4.50'],
}

setuptools.setup(
  name='moe_lite',
  version=VERSION,
  description='Mixtures of parameter-efficient experts on a frozen T5.',
  long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  author='The moe_lite authors',
  # The repository has no fixed address yet.
  project_urls={'Paper': 'https://arxiv.org/abs/2309.05444'},
  license='Apache-2.0',
  keywords='T5, JAX, Flax, mixture of experts, LoRA, instruction tuning',
  classifiers=[
    'Development Status :: 4 - Beta',
    'Intended Audience :: Science/Research',
    'Programming Language :: Python :: 3',
    'Programming Language :: Python :: 3.11',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
    'Typing :: Typed',
  ],
  python_requires='>=3.11',
  install_requires=DEPENDENCIES,
  extras_require=EXTRAS,
  packages=[
    *setuptools.find_packages(include=['moe_lite*', 'tasks*']),
    'moe_lite.gin_files',
  ],
  package_dir={'moe_lite.gin_files': 'gin'},
  package_data={
    'moe_lite': [
      'py.typed',
      'checkpoints/shipped/**/*',
      '**/*.md',
      '**/*.html',
      '**/*.jinja',
    ],
    'moe_lite.gin_files': ['**/*.gin'],
    'tasks': ['**/*'],
  },
  exclude_package_data={'': ['**/__pycache__/*', '**/*.py[co]']},
)
