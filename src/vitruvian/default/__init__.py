# SPDX-License-Identifier: Apache-2.0
"""The weights that come with the package, their model card, and how both are made."""
