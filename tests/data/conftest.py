# SPDX-License-Identifier: Apache-2.0
"""Let the tests of this folder import its helper modules by bare name, in workers too."""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)
