"""All template graphs by name, in the order of the template browser."""

from templates.canvas import CANVASES
from templates.diffsketching import DIFFSKETCHING
from templates.editing import EDITING
from templates.gan import SKETCH_GAN
from templates.gradop import GRADOP
from templates.inversion import INVERSION
from templates.paint2pix import PAINT2PIX
from templates.retrieval import RETRIEVAL
from templates.sdedit import SDEDIT

TEMPLATES = {
    **SDEDIT,
    **INVERSION,
    **GRADOP,
    **SKETCH_GAN,
    **RETRIEVAL,
    **DIFFSKETCHING,
    **PAINT2PIX,
    **CANVASES,
    **EDITING,
}
