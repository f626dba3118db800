"""DICOM studies: files, series, and the one that is the chest CT."""
