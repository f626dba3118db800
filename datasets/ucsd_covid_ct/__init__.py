"""UCSD COVID-CT: CT figures of papers and teaching collections, COVID against other findings."""

from jcs_datasets.ucsd_covid_ct.ucsd_covid_ct_dataset_builder import Builder

__all__ = ["Builder"]
