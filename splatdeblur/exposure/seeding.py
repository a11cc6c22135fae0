"""Networks that start from a generator of the caller's."""

import torch
from torch import nn


@torch.no_grad()
def seed_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draws the weights of all linear and convolutional layers, as torch would but from `generator`; biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = (1 / module.weight[0].numel()) ** 0.5
            module.weight.copy_(torch.empty_like(module.weight).uniform_(-bound, bound, generator=generator))
            if module.bias is not None:
                module.bias.zero_()
