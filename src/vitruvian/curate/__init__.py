# SPDX-License-Identifier: Apache-2.0
"""Curation: from very many pictures to the ones worth learning people from."""
