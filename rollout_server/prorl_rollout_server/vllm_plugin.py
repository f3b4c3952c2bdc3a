"""What every process of vLLM does first: vLLM finds `register` through the entry point `vllm.general_plugins`."""

from __future__ import annotations

from prorl_rollout_server.unread_ranks import leave_out_ranks
from prorl_rollout_server.weight_transfer import register_transfer_engine


def register() -> None:
    """Make the transfer engine known and leave out what nobody reads; safe to call again."""
    register_transfer_engine()
    leave_out_ranks()
