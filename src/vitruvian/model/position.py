# SPDX-License-Identifier: Apache-2.0
"""Where a patch is: learned and sine-cosine tables (first generation), rotary angles (second).

A *grid* is (rows, columns) of patches; positions are listed row by row, columns fastest.
"""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F

from vitruvian.errors import InputError

Grid = tuple[int, int]


def sine_cosine_table(dim: int, grid: Grid, *, class_row: bool = False) -> torch.Tensor:
    """Return the fixed position table (1, [1 +] rows * columns, dim) of pretraining, float32.

    With ``w_k = 10000 ** (-k / (dim / 4))``, position (r, c) is the four blocks ``sin(r w)``,
    ``cos(r w)``, ``sin(c w)``, ``cos(c w)``; the row of the class token is zero. ``dim`` must be
    divisible by 4. Source: MAE, arXiv 2111.06377, as in the published Sapiens code.
    """
    rows, columns = grid
    rates = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    r = torch.arange(rows, dtype=torch.float64)[:, None] * rates
    c = torch.arange(columns, dtype=torch.float64)[:, None] * rates
    along_rows = torch.cat([r.sin(), r.cos()], 1)[:, None].expand(-1, columns, -1)
    along_columns = torch.cat([c.sin(), c.cos()], 1)[None].expand(rows, -1, -1)
    table = torch.cat([along_rows, along_columns], 2).reshape(1, rows * columns, dim).float()
    return torch.cat([torch.zeros_like(table[:, :1]), table], 1) if class_row else table


def resize_table(table: torch.Tensor, grid: Grid, to: Grid) -> torch.Tensor:
    """Resize a position table (1, [1 +] rows * columns, D) from ``grid`` to the grid ``to``.

    Bicubic, corners not aligned, no antialiasing, in float32 (published code). A class row in front
    is recognised by the length and kept as it is.

    Raises:
        InputError: the length fits neither.
    """
    count = grid[0] * grid[1]
    extra = table.shape[1] - count
    if extra not in (0, 1):
        raise InputError(
            f"position table of {table.shape[1]} rows for a grid of {grid[0]}×{grid[1]} · wanted "
            f"{count} rows, or {count + 1} with a class token"
        )
    if grid == to:
        return table
    picture = table[:, extra:].float().reshape(1, *grid, -1).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=to, mode="bicubic", align_corners=False)
    resized = picture.flatten(2).transpose(1, 2).to(table.dtype)
    return torch.cat([table[:, :extra], resized], 1) if extra else resized


def rotary_periods(head_dim: int, base: float, dtype: torch.dtype) -> torch.Tensor:
    """Return the head_dim / 4 periods ``base ** (2 j / (head_dim / 2))``, each step in ``dtype``.

    In bfloat16 this gives exactly the values stored in published Sapiens2 files, which are
    therefore never read.
    """
    j = torch.arange(head_dim // 4, dtype=dtype, device="cpu")
    return base ** (2 * j / (head_dim // 2))


def rotary_tables(
    grid: Grid, head_dim: int, base: float, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosine and sine (rows * columns, head_dim) of the rotary angles of a grid.

    Patch centres run from -1 to 1 on each axis; angles are ``2 pi x / period``, rows in the first
    half of each half, columns in the second. Every step rounds to ``dtype``: published Sapiens2
    numerics are those of bfloat16, whatever the weights are. Tables of recent grids are kept.
    """
    if torch.compiler.is_compiling():  # traced values must not outlive the trace
        return _rotary_tables(grid, head_dim, base, dtype, device)
    key = (grid, head_dim, base, dtype, device)
    tables = _recent.get(key)
    if tables is None:
        # A table first made under inference mode would be unusable for training afterwards.
        with torch.inference_mode(mode=False), torch.no_grad():
            tables = _recent[key] = _rotary_tables(grid, head_dim, base, dtype, device)
        while len(_recent) > 16:
            _recent.popitem(last=False)
    return tables


_recent: OrderedDict[tuple[object, ...], tuple[torch.Tensor, torch.Tensor]] = OrderedDict()


def _rotary_tables(
    grid: Grid, head_dim: int, base: float, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = grid
    periods = rotary_periods(head_dim, base, dtype).to(device)
    # 0-based index plus a half; a plain half-integer range would need a float end point.
    r = (torch.arange(rows, device=device) + 0.5).to(dtype) / rows
    c = (torch.arange(columns, device=device) + 0.5).to(dtype) / columns
    where = torch.stack(
        [r[:, None].expand(rows, columns), c[None, :].expand(rows, columns)], dim=-1
    ).reshape(rows * columns, 2)
    where = 2 * where - 1
    angles = (2 * math.pi * where[:, :, None] / periods).flatten(1)
    angles = torch.cat([angles, angles], 1)
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, tables: tuple[torch.Tensor, torch.Tensor], prefix: int) -> torch.Tensor:
    """Rotate queries or keys (B, heads, prefix + N, head_dim); the prefix tokens stay unrotated.

    The tables are (N, head_dim), or (B, 1, N, head_dim) after gathering. All tokens, the prefix
    included, are rounded to the dtype of the tables and cast back (published Sapiens2 numerics).
    """
    cos, sin = tables
    y = x.to(cos.dtype)
    patches = y[:, :, prefix:]
    first, second = patches.chunk(2, dim=-1)
    turned = patches * cos + torch.cat([-second, first], dim=-1) * sin
    return torch.cat([y[:, :, :prefix], turned], dim=2).to(x.dtype)
