"""A synthetic chest phantom in HU with known lesions: not a patient."""

from jcs_datasets.chest_phantom.chest_phantom_dataset_builder import Builder
from jcs_datasets.chest_phantom.phantom import Phantom, make_patient

__all__ = ["Builder", "Phantom", "make_patient"]
