# SPDX-License-Identifier: Apache-2.0
"""One training loop for every objective: optimiser, schedules, checkpoints, logs, parallelism."""
