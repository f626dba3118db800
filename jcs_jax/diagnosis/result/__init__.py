"""What a diagnosis says, as plain values and arrays: no model and no file in here."""

from jcs_jax.diagnosis.result.case import SLICE_LEVEL as SLICE_LEVEL
from jcs_jax.diagnosis.result.case import Diagnosis as Diagnosis
from jcs_jax.diagnosis.result.case import ModelCard as ModelCard
from jcs_jax.diagnosis.result.decision import Decision as Decision
from jcs_jax.diagnosis.result.geometry import Geometry as Geometry
from jcs_jax.diagnosis.result.geometry import SourceGrid as SourceGrid
from jcs_jax.diagnosis.result.geometry import StudyMaps as StudyMaps
from jcs_jax.diagnosis.result.lesions import Lesion as Lesion
from jcs_jax.diagnosis.result.lesions import LesionReport as LesionReport
from jcs_jax.diagnosis.result.lesions import LungInvolvement as LungInvolvement
from jcs_jax.diagnosis.result.slices import MapAgreement as MapAgreement
from jcs_jax.diagnosis.result.slices import SliceDiagnosis as SliceDiagnosis
from jcs_jax.diagnosis.result.slices import SliceFindings as SliceFindings
