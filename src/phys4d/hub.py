"""Models on the Hugging Face hub: fetched once, then read from its cache."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from phys4d.errors import InputError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""owner/name."""
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.md")
"""Files of a model that are fetched: never pickles, nor code."""
ANSWER = 5.0
"""Seconds within which the hub has to answer."""


def download(name: str) -> Path:
    """The folder of the model owner/name, in the hub's own cache on this machine.

    Raises InputError at once where the hub cannot be reached and the cache has no such model, and where there is
    none of that name, or it wants a login.
    """
    hub = _hub()
    try:
        hub.HfApi().model_info(name, timeout=ANSWER)
    except hub.errors.GatedRepoError:
        raise InputError(f"{name}: the hub wants its terms accepted; then log in with `hf auth login`") from None
    except hub.errors.RepositoryNotFoundError:
        raise InputError(
            f"{name}: no folder of that name here, and no such model on the hub; check the spelling"
        ) from None
    except Exception as error:
        return _cached(hub, name, error)
    return Path(hub.snapshot_download(name, allow_patterns=list(WANTED)))


def upload(folder: Path, name: str, *, private: bool = True) -> str:
    """Put a model's folder on the hub as owner/name; returns its address. Raises InputError where that fails."""
    hub = _hub()
    if not HUB_NAME.fullmatch(name):
        raise InputError(f"a model's name on the hub is owner/name, not {name!r}")
    try:
        api = hub.HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: the hub did not take it ({reason}); log in with `hf auth login`") from error
    return str(address)


def _cached(hub: Any, name: str, error: Exception) -> Path:
    try:
        return Path(hub.snapshot_download(name, local_files_only=True))
    except hub.errors.LocalEntryNotFoundError:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{name}: no such folder here, and the hub cannot be reached ({type(error).__name__}: {reason})\n"
            f"Fetch it where there is a network, with `hf download {name} --local-dir FOLDER`, and give FOLDER."
        ) from None


def _hub() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise InputError("models on the hub need huggingface_hub: pip install 'phys4d[video]'") from None
    return huggingface_hub
