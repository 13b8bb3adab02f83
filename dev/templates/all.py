"""All template graphs by name, in the order of the template browser."""

from templates.canvas import CANVASES
from templates.diffsketching import DIFFSKETCHING
from templates.editing import EDITING
from templates.gan import SKETCH_GAN
from templates.gradop import GRADOP
from templates.inversion import INVERSION
from templates.paint2pix import PAINT2PIX
from templates.paint2pix_faces import PAINT2PIX_FACES
from templates.regions import REGIONS
from templates.retrieval import RETRIEVAL
from templates.sdedit import SDEDIT

ROOMS = (
    *(SDEDIT, EDITING, INVERSION, GRADOP, REGIONS, SKETCH_GAN, RETRIEVAL, DIFFSKETCHING),
    *(PAINT2PIX, PAINT2PIX_FACES, CANVASES),
)
TEMPLATES = dict(sorted((name, graph) for room in ROOMS for name, graph in room.items()))
