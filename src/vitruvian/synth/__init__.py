# SPDX-License-Identifier: Apache-2.0
"""Synthetic people: pictures of people with exact labels for every task."""
