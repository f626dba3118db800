"""Results as DICOM: segmentation, structured report and pictures, as new series of the source's study."""
