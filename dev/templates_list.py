"""All template graphs by name, in the order of the template browser."""

from templates_inversion import INVERSION
from templates_sdedit import SDEDIT

TEMPLATES = {**SDEDIT, **INVERSION}
