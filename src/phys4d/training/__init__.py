"""The three stages, and the base below them.

| file | what |
| --- | --- |
| run.py | `train`: a run from its data to `RUN/final` |
| base.py, pretrain.py, finetune.py, reinforce.py | the stages, in their order: batch -> loss |
| denoising.py, policy.py | losses that stages share, or are built on |
| loop.py, checkpoint.py, log.py, config.py | what every stage needs |
| measures.py, guards.py | what is looked at on held-out worlds |
"""
