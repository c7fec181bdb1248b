"""The three stages, and the base below them.

| file | what |
| --- | --- |
| run.py, claim.py | `train`: a run from its data to `RUN/final`; whose run a folder is |
| base.py, pretrain.py, finetune.py, reinforce.py | the stages, in their order: batch -> loss |
| denoising.py, policy.py, balance.py | losses that stages share, or are built on |
| rollouts.py, scenes.py | what stage 3 learns from |
| loop.py, optimizer.py, config.py, log.py, trackers.py | what every stage needs |
| state.py, checkpoint.py, ending.py | how a run is kept, and goes on |
| ranks.py, placement.py | several processes; what is sharded, recomputed or compiled |
| measures.py, guards.py | what is looked at on held-out worlds |
"""
