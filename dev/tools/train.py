"""`python3 dev/run.py train NAME --folder DIR`: trainings outside the host.

Of the starter's networks: prior, experts, vae, decoder, text, flow, starter-retriever, classifier, upscaler,
starter-painter, watercolour. On your own pictures: the others.
"""

from __future__ import annotations

import os
import sys
from functools import partial

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # renders go to processes; numpy's own threads would fight them

from runtime.rooms import room

TRAININGS = {
    "prior": "starter.training.prior",
    "experts": "starter.training.experts",
    "vae": "starter.training.vae",
    "decoder": "starter.training.decoder",
    "text": "starter.training.text",
    "flow": "starter.training.flow",
    "starter-retriever": "starter.training.retriever",
    "retriever": "training.retrieval.command",
    "classifier": "starter.training.classifier",
    "pixel-prior": "training.prior",
    "noisy-classifier": "training.noisy_classifier",
    "features": "training.features",
    "photosketch": "training.photosketch",
    "paint2pix": "training.paint2pix.command",
    "stylegan": "training.paint2pix.command",
    "upscaler": "starter.training.upscaler",
    "starter-painter": "starter.training.painter",
    "watercolour": "starter.training.watercolour",
}
ENTRIES = {"paint2pix": "painter", "stylegan": "stylegan"}  # what is called where a module has more than a `main`
ELSEWHERE = ("gan", "tom", "sketches")  # of train_gan, which also takes folders of photos


def host_unet() -> type:
    """The host's UNetModel, which the text-conditioned model is an instance of."""
    from runtime.inprocess import NO_HOST, find_host, prepare_host

    host = find_host()
    if host is None:
        sys.exit(NO_HOST)
    prepare_host(host)
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    return UNetModel


def host_transformer() -> type:
    """The host's NextDiT, with its layers as they can be differentiated."""
    host_unet()  # prepares the host
    import comfy.model_management
    from comfy.ldm.lumina.model import NextDiT

    comfy.model_management.in_training = True  # the host's own switch: no fused kernels without slopes
    return NextDiT


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in (*TRAININGS, *ELSEWHERE):
        sys.exit(f"usage: train {{{','.join((*TRAININGS, *ELSEWHERE))}}} [options]; --help after the name lists them")
    if sys.argv[1] in ELSEWHERE:
        from tools.train_gan import COMMANDS

        main = COMMANDS[sys.argv[1]]
    else:
        host_class = {"text": ("unet", host_unet), "flow": ("transformer", host_transformer)}.get(sys.argv[1])
        brought = {host_class[0]: host_class[1]()} if host_class else {}
        main = partial(getattr(room(TRAININGS[sys.argv[1]]), ENTRIES.get(sys.argv[1], "main")), **brought)
    sys.exit(room("training.command").run(main, sys.argv[2:]))


if __name__ == "__main__":
    main()
