# SPDX-License-Identifier: Apache-2.0
"""Vitruvian: human-centric vision models."""

__version__ = "0.1.0"
