"""Gaussians and cameras in, pictures out; one protocol, three backends."""

from .rasterizer import Burst, Rasterizer, Render, RenderOptions, best_available

__all__ = ["Burst", "Rasterizer", "Render", "RenderOptions", "best_available"]
