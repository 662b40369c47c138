"""A four-layer toy net in float64 whose every score is known in closed form: attention is local to the token."""

import torch

LAYERS, TOKENS, WIDTH, VOCAB = 4, 3, 4, 5


def rms(x):
    """Root-mean-square norm without gain."""
    return x / x.square().mean(-1, keepdim=True).sqrt()


def weights():
    """Attention and MLP matrices per layer, and the head, of shape (width, width) and (vocab, width)."""
    layer, i, j = torch.meshgrid(torch.arange(1, 5), torch.arange(1, 5), torch.arange(1, 5), indexing="ij")
    attention = 0.3 * torch.cos(0.7 * layer.double() * i + 0.3 * j)
    mlp = 0.2 * torch.sin(0.5 * layer.double() * i - 0.4 * j)
    v, w = torch.meshgrid(torch.arange(1, 6), torch.arange(1, 5), indexing="ij")
    return attention, mlp, torch.sin(0.9 * v.double() * w)


def run(dropped_attention=()):
    """States h_0…h_4 and what attention and MLP add, each of shape (tokens, width)."""
    attention, mlp, _ = weights()
    t, j = torch.meshgrid(torch.arange(TOKENS), torch.arange(WIDTH), indexing="ij")
    h = torch.sin(1 + 4 * t.double() + j)
    states, a, m = [h], [], []
    for layer in range(LAYERS):
        a.append(torch.zeros_like(h) if layer in dropped_attention else rms(h) @ attention[layer].T)
        m.append(rms(h + a[-1]) @ mlp[layer].T)
        h = h + a[-1] + m[-1]
        states.append(h)
    return states, a, m
