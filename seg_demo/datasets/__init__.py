"""What people collect: folders of images with their masks, in the format that training reads. Start at ``store.Store``."""

from seg_demo.datasets.dataset import Dataset
from seg_demo.datasets.sample import Facts, Sample
from seg_demo.datasets.store import Store, may_collect, visitor_store

__all__ = ["Dataset", "Facts", "Sample", "Store", "may_collect", "visitor_store"]
