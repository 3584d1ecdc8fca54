"""A run with a failed backend, and with names and prompts from a hostile outside."""

import json
from pathlib import Path

import msgspec

from measure import canonical
from measure.build import Run, build
from report import pages
from tests.measure import simulate
from tests.measure.folder import Folder, meta

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=2'>"
RIGHT_TO_LEFT = "שלום עולם: مرحبا بالعالم"
LONG = "word " * 200_000
MODEL = "tiny<b onmouseover=hacked()>bold</b>{{ 7*7 }}"


def make(path: Path) -> Path:
    """Make the run in this folder; returns its page."""
    folder = simulate.run_folder(Folder(path), gpu=True)
    cut = path / "cells" / "hf-static.r0"  # interrupted after its last phase: traces are whole
    folder.about(cut, "hf-static", status="interrupted", reason="stopped by the user")
    failed = path / "cells" / "hf-paged.r0"
    failed.mkdir()
    folder.about(failed, "hf-paged", status="oom", reason=HOSTILE, log_tail=[HOSTILE, "last line"])
    texts = [HOSTILE, RIGHT_TO_LEFT, LONG, None]
    requests = [
        {"id": name, "text": text, "prompt_ids": [1] * prompt, "output_tokens": output}
        for (name, prompt, output), text in zip(
            simulate.asked(), texts + ["plain"] * 12, strict=True
        )
    ]
    (path / "workload.json").write_text(
        json.dumps({"name": "chat", "sha256": "", "requests": requests})
    )
    model = {**msgspec.to_builtins(meta().model), "name": MODEL}
    environment = {"cpu": {"model": HOSTILE, "cores": 2}, "versions": {"vllm": "0.32.0"}}
    run = Run(path)
    result = build(path, meta(device="cuda", model=model, environment=environment), run)
    (path / "result.json").write_bytes(canonical.dumps(result))
    return pages.write(path, result, run)[1]
