"""What is fetched from the Hub, from a stand-in for it on the loopback."""

import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.orchestrator.bench import ROOT

SHA = "0123456789abcdef0123456789abcdef01234567"
COMMON = ("config.json", "tokenizer.json", "vocab.txt", "tokenizer.model", "modeling_own.py")
MODELS = {
    "safe": (*COMMON, "model.safetensors", "pytorch_model.bin", "consolidated.safetensors",
             "original/consolidated.00.pth", "original/params.json", "onnx/model.safetensors",
             "README.md"),
    "old": (*COMMON, "pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json",
            "training_args.bin", "flax_model.msgpack"),
}  # fmt: skip
SECRETS = {"gated": (403, "GatedRepo"), "private": (401, "RepoNotFound"), "broken": (500, "")}
DOWNLOAD = (
    "import sys; from workers.hub import download\n"
    "from traces.errors import Problem\n"
    "try: print(download(sys.argv[1], sys.argv[2] == 'trust'))\n"
    "except Problem as problem: sys.exit(str(problem))"
)


class Hub(BaseHTTPRequestHandler):
    """Tells of a model, lists its files, and hands them out."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0].removeprefix("/api/models")
        name = path.split("/")[2]
        if name in SECRETS:
            status, code = SECRETS[name]
            return self.answer(b"{}", status, {"X-Error-Code": code} if code else {})
        if "/resolve/" in path:
            file = path.partition(f"/resolve/{SHA}/")[2]
            data = file.encode()
            etag = hashlib.sha1(data).hexdigest()
            return self.answer(data, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": SHA})
        if "/tree/" in path:
            files = [
                {"type": "file", "path": file, "size": len(file),
                 "oid": hashlib.sha1(file.encode()).hexdigest()}
                for file in MODELS[name]
            ]  # fmt: skip
            return self.answer(json.dumps(files).encode())
        siblings = [{"rfilename": file} for file in MODELS[name]]
        about = {"id": f"owner/{name}", "sha": SHA, "siblings": siblings}
        return self.answer(json.dumps(about).encode())

    def answer(self, data, status=200, headers=None):
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def fetch(tmp_path):
    """Fetch a model in a process of its own, which is told where the Hub is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*",
    }  # fmt: skip

    def run(name, trust=""):
        return subprocess.run(
            [sys.executable, "-c", DOWNLOAD, f"owner/{name}", trust], cwd=ROOT, env=environment,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    yield run
    server.shutdown()
    server.server_close()


def files(done):
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        ["find", "-L", ".", "-type", "f"], cwd=done.stdout.strip(), capture_output=True, text=True
    )
    return sorted(line.removeprefix("./") for line in listed.stdout.splitlines())


PLAIN = {"config.json", "tokenizer.json", "vocab.txt", "tokenizer.model"}


def test_one_form_of_the_weights_and_no_code(fetch):
    assert {*files(fetch("safe"))} == PLAIN | {"model.safetensors"}


def test_code_that_is_trusted_comes_along(fetch):
    assert {*files(fetch("safe", "trust"))} == PLAIN | {"model.safetensors", "modeling_own.py"}


def test_older_weights_where_there_are_no_others(fetch):
    assert {*files(fetch("old"))} == PLAIN | {
        "pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gated", "ask for it at https://huggingface.co/owner/gated, and set HF_TOKEN"),
        ("private", "not on the Hub, or not for everybody: check the name, or set HF_TOKEN"),
        ("broken", "not to be had from the Hub"),
    ],
)
def test_what_cannot_be_had_is_told_with_the_remedy(fetch, name, says):
    done = fetch(name)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert says in done.stderr
