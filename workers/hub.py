"""Fetch a model from the Hub: what Transformers and vLLM read of it, once, and no more.

Repositories keep their weights in several forms (`original/`, `consolidated.*`): only one of them
is fetched, older .bin files where there are no others. Code comes along only when it is trusted.
"""

from pathlib import Path

from traces.errors import Problem

ABOUT = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja")
ELSEWHERE = ("*/*", "consolidated.*")


def download(name: str, trust_remote_code: bool) -> Path:
    """Return the folder in the user's cache. Raises Problem."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return _fetched(name, [*ABOUT, *(["*.py"] if trust_remote_code else [])])
    except GatedRepoError:
        raise Problem(
            f"model {name!r}: its owner gives access: ask for it at https://huggingface.co/{name}, "
            "and set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise Problem(
            f"model {name!r}: not on the Hub, or not for everybody: check the name, or set HF_TOKEN"
        ) from None
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        line = str(error).strip().splitlines()[0]
        raise Problem(f"model {name!r}: not to be had from the Hub ({line})") from None


def _fetched(name: str, about: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    for weights in ("*.safetensors", "pytorch_model*.bin"):
        folder = Path(
            snapshot_download(
                name, allow_patterns=[*about, weights], ignore_patterns=list(ELSEWHERE)
            )
        )
        if any(folder.glob(weights)):
            break
    return folder
