"""COVID-SemiSeg: 50 CT slices with lesion masks, and 1,600 slices of 20 volumes without."""

from jcs_datasets.covid_semiseg.covid_semiseg_dataset_builder import Builder

__all__ = ["Builder"]
