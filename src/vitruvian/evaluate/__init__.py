# SPDX-License-Identifier: Apache-2.0
"""Evaluation: photographs with truth, answers of a model or of files, numbers, and a report.

``prepare`` opens what a ``Plan`` names, ``work`` scores it chunk by chunk, ``gather`` puts the
chunks together; ``vitruvian evaluate`` does all three.
"""
