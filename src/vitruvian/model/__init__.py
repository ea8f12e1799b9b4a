# SPDX-License-Identifier: Apache-2.0
"""Networks: one vision transformer, its pretraining, and its heads. Knows torch, not people."""
