"""Keys that tell the files of StyleGAN2 and its encoders apart."""

PAINTER_KEYS = ("encoder.input_layer.0.weight", "encoder.styles.0.linear.weight", "decoder.to_rgb1.bias")
GENERATOR_KEYS = ("conv1.conv.modulation.weight", "to_rgb1.conv.weight", "input.input", "noises.noise_0")
FACE_KEYS = ("input_layer.0.weight", "body.0.res_layer.1.weight", "output_layer.3.weight")
