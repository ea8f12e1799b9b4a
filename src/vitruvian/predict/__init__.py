# SPDX-License-Identifier: Apache-2.0
"""Seeing people in photographs: detectors, the predictor, and loading both by name."""
