"""One thread of torch: two test processes share two cores, and more threads only wait for each other."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
