# SPDX-License-Identifier: Apache-2.0
"""Lets these tests, and the processes they start, import the helper beside them."""

import sys
from pathlib import Path

if str(Path(__file__).parent) not in sys.path:
    sys.path.append(str(Path(__file__).parent))
