# SPDX-License-Identifier: Apache-2.0
"""``python -m vitruvian``, as ``torchrun -m vitruvian train …`` starts it."""

import sys

from vitruvian.cli import main

if __name__ == "__main__":
    sys.exit(main())
