"""Give requests blocks as older engines did, inside the real vLLM: only their number changes.

Where vLLM asks how many blocks a request needs, and where it takes them, the length it asks for is
raised to what the policy reserves at admission (`traces.policy`). Kernels, CUDA graphs, batching,
budget and tokens stay as they are. Under `paged` nothing is wrapped at all: the methods are the
engine's own.

It may rely on: `kv_cache_manager.coordinator.single_type_managers`, whose methods
`get_num_blocks_to_allocate` and `allocate_new_blocks` take (request_id, num_tokens, ...), and on
`requests` of the scheduler (vLLM 0.26 to 0.33). Raising `num_lookahead_tokens` instead would
reserve in groups that recycle their blocks, too.
"""

from typing import Any

from traces.policy import Policy, reserved_tokens


class Reservation:
    """Wraps the block managers of one scheduler; `use` switches the policy while nothing runs."""

    def __init__(self, scheduler: Any) -> None:
        self._requests: dict[str, Any] = scheduler.requests
        self._max_length: int = scheduler.max_model_len
        self._managers = scheduler.kv_cache_manager.coordinator.single_type_managers
        self.policy: Policy = "paged"

    def use(self, policy: Policy) -> None:
        """Reserve by this policy from now on. Only while no request runs."""
        for manager in self._managers:
            for name in ("get_num_blocks_to_allocate", "allocate_new_blocks"):
                vars(manager).pop(name, None)  # our wrapper: the class has the engine's own
                if policy != "paged":
                    setattr(manager, name, self._raised(getattr(manager, name)))
        self.policy = policy

    def _raised(self, method: Any) -> Any:
        """Return the manager's method, asked for at least what the request has reserved.

        The gate that asks whether a whole prompt fits (`apply_admission_cap`) is left as it is:
        the call that follows it asks for more.
        """

        def ask(request_id: str, num_tokens: int, *args: Any, **kwargs: Any) -> Any:
            if not kwargs.get("apply_admission_cap"):
                num_tokens = max(num_tokens, self._reserved(request_id))
            return method(request_id, num_tokens, *args, **kwargs)

        return ask

    def _reserved(self, request_id: str) -> int:
        request = self._requests[request_id]
        return reserved_tokens(
            self.policy, request.num_prompt_tokens, request.max_tokens, self._max_length
        )
