"""Images, class splits, batch plans and augmentation.

A data set is decoded once into an :class:`datasets.image_set.ImageSet` (``datasets.cache.load``),
divided into known and unknown classes (``datasets.splits``), and read through index plans
(``datasets.batches``). The table of data sets is ``datasets.registry``; it, and this package,
import without torch.
"""
