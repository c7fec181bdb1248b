"""Data sets of worlds: written (`write_dataset`), read (`open_dataset`) and fed to training (`training_loader`).

`phys4d.data.verify` checks them.
"""

from phys4d.data.loader import TrainingLoader, training_loader
from phys4d.data.shards import WorldDataset, open_dataset
from phys4d.data.writer import DatasetSummary, Item, write_dataset

__all__ = [
    "DatasetSummary",
    "Item",
    "TrainingLoader",
    "WorldDataset",
    "open_dataset",
    "training_loader",
    "write_dataset",
]
