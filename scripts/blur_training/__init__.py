"""Blurred pictures of known blur, and what `train_blur_assessment` does with them."""
