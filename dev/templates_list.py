"""All template graphs by name, in the order of the template browser."""

from templates_gan import SKETCH_GAN
from templates_gradop import GRADOP
from templates_inversion import INVERSION
from templates_sdedit import SDEDIT

TEMPLATES = {**SDEDIT, **INVERSION, **GRADOP, **SKETCH_GAN}
