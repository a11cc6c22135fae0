"""Sharp 3D Gaussian scenes from blurry photos. `splatdeblur.pipeline` tells the whole story; start there."""

__version__ = "0.1.0"
