# SPDX-License-Identifier: Apache-2.0
"""Training data: stored by law, read in any order exactly once, augmented by law."""
