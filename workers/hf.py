"""What the Transformers backends share: loading, greedy settings, and the per-step observer."""

from typing import Any

from traces import clock, kv
from traces.facts import EngineFacts
from traces.job import Job
from traces.layout import Layout
from workers import sizes, torch_memory
from workers.backend import Recorder


class HfWorker:
    """A Transformers model on one device, generating greedily to fixed lengths."""

    kind = ""
    longest = 0
    _pool = 0

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self.job = job
        self.recorder = recorder
        self.model: Any = None
        self._facts = EngineFacts()
        self._layout = Layout(kind=self.kind)

    def prepare(self) -> None:
        import torch
        import transformers

        if self.job.device == "cuda":
            torch.cuda.init()
            torch.zeros(1, device="cuda")  # opens the context, so that it is seen on its own
        transformers.utils.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        from transformers import AutoModelForCausalLM  # noqa: F401  the import is the cost

        self._facts.context_at_import_bytes = self._outside()

    def open(self) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        dtype = getattr(torch, self.job.dtype)
        attention = self.job.options.get("attention", "sdpa")
        trust = self.job.trust_remote_code
        if self.job.random_weights:
            torch.manual_seed(self.job.seed)
            config = AutoConfig.from_pretrained(self.job.model, trust_remote_code=trust)
            with torch.device(self.job.device):
                self.model = AutoModelForCausalLM.from_config(
                    config, dtype=dtype, attn_implementation=attention, trust_remote_code=trust
                )
        else:
            self.model = AutoModelForCausalLM.from_pretrained(
                self.job.model, dtype=dtype, attn_implementation=attention,
                trust_remote_code=trust, device_map=self.job.device,
            )  # fmt: skip
        self.model.eval()
        # What a call leaves open, generate() fills in from here: an end-of-sequence id among it.
        self.model.generation_config = self.greedy(1)
        tensors = [*self.model.parameters(), *self.model.buffers()]
        self._layout.rank.weights_bytes = torch_memory.tensor_bytes(tensors)
        self._layout.group.layers = self.model.config.get_text_config().num_hidden_layers
        self._pool = self.job.kv_budget or self._own_pool()
        self.longest = min(self.job.max_length, self.slots())

    def _own_pool(self) -> int:
        """Return the bytes of KV that a batch may take where no budget is set.

        On a GPU as vLLM would: what is free now, but for a tenth of the device. Half of that, for
        the prompts of a whole padded batch go through the model at once.
        """
        if self.job.device != "cuda":
            return kv.DEFAULT_CPU_POOL
        import torch

        free, total = torch.cuda.mem_get_info()
        return int(free - total // 10) // 2

    def slots(self) -> int:
        """Return how many token slots fit the KV budget.

        From the configuration's sizes, for nothing is allocated yet; the tensors are measured
        later and the two are compared in the result.
        """
        return self._pool // self.formula_bytes_per_slot()

    def formula_bytes_per_slot(self) -> int:
        """Return KV bytes of one token by the configuration's sizes."""
        config = sizes.whole(self.model.config.get_text_config())
        shape = sizes.shape(config, type(self.model).__name__)
        return shape.bytes_per_token(self.job.dtype, transformers=True)

    def greedy(self, new_tokens: int) -> Any:
        """Greedy settings that never stop early: end-of-sequence counts as any other token.

        Built from nothing rather than from the model's own, whose sampling settings (repetition
        penalty, for one) would make the backends differ.
        """
        from transformers import GenerationConfig

        return GenerationConfig(
            do_sample=False, max_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0,
            use_cache=True, disable_compile=not self.job.options.get("compile", True),
        )  # fmt: skip

    def memory(self, where: str) -> None:
        self.recorder.alloc(where, **torch_memory.allocator(self.job.device))
        torch_memory.note_outside(self._facts, self._layout.rank, where, self._outside())
        if where == "warmup.end":
            torch_memory.reset_peak(self.job.device)

    def layout(self) -> Layout:
        self._layout.kernels = [self.attention()]
        return self._layout

    def attention(self) -> str:
        """Return the attention in use, by the name that the option has."""
        return str(self.model.config._attn_implementation)

    def facts(self) -> EngineFacts:
        import torch
        import transformers

        versions = {"torch": str(torch.__version__), "transformers": transformers.__version__}
        self._facts.versions = versions
        self._facts.settings = {"attention": self.attention(), "execution": self.execution()}
        self._facts.formula_bytes_per_slot = self.formula_bytes_per_slot()
        return self._facts

    def execution(self) -> str:
        """Return how steps were run. Transformers compiles into CUDA graphs, by its own rule."""
        return "compiled, CUDA graphs" if hasattr(self.model, "_compiled_call") else "eager"

    def close(self) -> None:
        import gc

        import torch

        self.model = None
        gc.collect()
        if self.job.device == "cuda":
            torch.cuda.empty_cache()

    def measure_cache(self, cache: Any) -> None:
        """Measure bytes per slot from the cache's own tensors (rows x heads x slots x dim)."""
        keys = cache.layers[0].keys
        slots = keys.shape[0] * keys.shape[2]
        tensors = [t for layer in cache.layers for t in (layer.keys, layer.values)]
        self._layout.group.bytes_per_token = torch_memory.tensor_bytes(tensors) // slots
        self._facts.cache_tensors = len(tensors)

    def _outside(self) -> int | None:
        if self.job.device != "cuda":
            return None
        return torch_memory.outside_allocator(self.job.baseline_used)


def synchronize(device: str) -> int:
    """Wait for the device, so that a time read next is of work done; return that time.

    Transformers waits for the device after every step anyway (it asks whether all rows ended).
    """
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return clock.now()
