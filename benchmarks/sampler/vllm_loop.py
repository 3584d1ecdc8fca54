"""Our vllm backend as the program that samplers are measured against: the same work, every time.

    python -m benchmarks.sampler.vllm_loop JOB.json SECONDS

How many tokens take the seconds is found first. Orders come on stdin and answers go to stdout, as
in benchmarks/sampler/decode_loop.py; whatever the number in `run SECONDS`, it does that work:

    run SECONDS    -> [[begin_ns, end_ns], ...]  the steps at which every request got a token
"""

import json
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.engines.arms import Counting, lasting, requests_of, timed
from traces import clock
from traces.job import Job, Prompt
from traces.reader import read
from traces.records import Kv
from traces.writer import Writer
from workers import vllm_engine
from workers.drive import drive


def main() -> None:
    """Obey until stdin ends."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    prompts = requests_of(job)
    trace = Path(job.folder, "engine.jsonl")
    with (
        os.fdopen(os.dup(1), "w") as answers,
        Writer(Path(job.folder, "worker.jsonl"), "benchmark") as writer,
    ):
        os.dup2(2, 1)  # what the engine prints is no answer

        def answer(value: Any) -> None:
            answers.write(json.dumps(value) + "\n")
            answers.flush()

        recorder = Counting(writer, job.record_kv)
        worker = vllm_engine.Worker(job, recorder)
        worker.prepare()
        worker.open()

        def generate(requests: list[Prompt]) -> int:
            before = recorder.tokens
            drive(worker, requests, recorder)
            return recorder.tokens - before

        def steps(since: int) -> list[tuple[int, int]]:
            """Of pure decoding, the whole batch in flight: what the engine does nearly always."""
            counts = [r for r in read(trace) if isinstance(r, Kv) and r.t >= since]
            return [
                (a.t, b.t)
                for a, b in pairwise(counts)
                if a.running == b.running == b.groups[0].stored - a.groups[0].stored == len(asked)
            ]

        asked, rounds = lasting(generate, prompts, float(sys.argv[2]), job)
        timed(generate, asked, rounds)  # the first minute of an engine is slower
        answer({"requests": len(asked), "output_tokens": asked[0].output_tokens, "rounds": rounds})
        for _ in sys.stdin:
            begun = clock.now()
            timed(generate, asked, rounds)
            answer(steps(begun))
        worker.close()


if __name__ == "__main__":
    main()
