"""`jcs audit`: do the splits of data sets leak into one another, and what tells their classes apart beside disease?

`open_parts` opens data sets, `audit` looks at them, and `write_reports` and `print_report` tell what was found.
"""

from jcs_jax.audit.auditor import audit
from jcs_jax.audit.findings import Audit
from jcs_jax.audit.parts import Part, open_parts

__all__ = ["Audit", "Part", "audit", "open_parts"]
