# SPDX-License-Identifier: Apache-2.0
"""Download published weights: terms first, then the file, then a check, all kept together.

Nothing is downloaded before the licence was shown and accepted. ``LICENCE.txt`` and
``source.json`` beside the file say where it came from and what was verified. Files of the catalogue
get a folder of their own; other repositories of the hub go into the hub's cache, where
transformers finds them too. The Hugging Face client does the transfer; ``HF_ENDPOINT``,
``HF_HUB_OFFLINE`` and its login apply.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from vitruvian.errors import InputError, LicenceError, WeightsError
from vitruvian.model.catalogue import (
    Commercial,
    Entry,
    HubAddress,
    entry,
    hub_address,
    on_this_machine,
    weights_folder,
)

Verified = Literal["catalogue", "hub", "no"]
_HUB = "https://huggingface.co"
_WEIGHTS = (".safetensors", ".pth")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a download would bring, and on which terms.

    ``places`` are (repository, path inside) alternatives for the weights; ``extra`` are further
    files of the same repository; ``nbytes`` is approximate and may be unknown; ``record`` is the
    catalogue's, with which the file is compared.
    """

    name: str
    places: tuple[tuple[str, str], ...]
    revision: str | None
    licence: str
    url: str
    commercial: Commercial
    summary: str
    nbytes: int | None = None
    sha256: str | None = None
    extra: tuple[str, ...] = ()
    loadable: bool = True
    record: Entry | None = None

    @property
    def file(self) -> str:
        """Base name of the weights."""
        return self.places[0][1].rpartition("/")[2]

    @property
    def notice(self) -> str:
        """The terms as text, to be shown before asking."""
        size = f", about {self.nbytes / 1e9:.1f} GB" if self.nbytes else ""
        revision = f" @ {self.revision}" if self.revision else ""
        return (
            f"{self.name}: {self.file}{size}\n"
            f"from            {self.places[0][0]}{revision}\n"
            f"licence         {self.licence}, {self.url}\n"
            f"commercial use  {self.commercial}: {self.summary}"
        )


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A download that lies in place.

    ``verified`` says what the checksum was compared with: the catalogue's, the hub's own, or none.
    ``fresh`` is False when the file was already there.
    """

    path: Path
    sha256: str | None
    verified: Verified
    fresh: bool


@dataclass(frozen=True, kw_only=True)
class _Got:
    """A file that arrived, and what the sender said about it."""

    path: Path
    place: str
    revision: str | None = None
    sha256: str | None = None
    extra: list[Path] = field(default_factory=list)


def fetch(name: str, *, accept: Callable[[str], bool], mirror: str | Path | None = None) -> Fetched:
    """Download a catalogue entry or ``hf:org/name[@revision]`` to where ``find`` looks.

    Args:
        name: what to download.
        accept: is shown the terms and returns whether they are accepted; called once, before any
            weights are transferred.
        mirror: a folder that holds the files, or the address of a server that speaks the hub's
            protocol; by default ``$HF_ENDPOINT`` or the hub.

    Raises:
        UnknownNameError: no such name.
        LicenceError: the terms were not accepted.
        InputError: offline, or the file is not where it should be.
        WeightsError: what arrived is not the file (checksum, web page, pointer, half of it, other
            weights than the catalogue's of that name); it was deleted again.
    """
    present = on_this_machine(name)
    if present is not None:
        return Fetched(path=present, sha256=None, verified="no", fresh=False)
    address, target, source = hub_address(name), weights_folder(name), _mirror(mirror)
    if not isinstance(source, Path):
        _refuse_offline(name, target)
    offer = _offer(entry(name)) if address is None else _hub_offer(name, address, source)
    if not accept(offer.notice):
        raise LicenceError(
            f"{name}: the licence {offer.licence} was not accepted, nothing was downloaded · read "
            f"{offer.url} and answer yes, or pass --yes"
        )
    staging = target / ".part"
    shared = address is not None and not isinstance(source, Path)
    try:
        if isinstance(source, Path):
            got = _copy(offer, source, staging)
        else:
            # The client itself resumes after a broken connection, not after the end of a process.
            got = _download(offer, source, None if shared else staging)
        try:
            sha256, verified = _verify(offer, got)
        except WeightsError:
            got.path.resolve().unlink()
            got.path.unlink(missing_ok=True)  # in the hub's cache, a link to the former
            raise
        target = got.path.parent if shared else target
        _write_terms(target, offer, got, sha256, verified)
        if not shared:
            for path in (*got.extra, got.path):
                path.replace(target / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    path = target if "config.json" in offer.extra else target / got.path.name
    return Fetched(path=path, sha256=sha256, verified=verified, fresh=True)


def _offer(record: Entry) -> Offer:
    if not record.places:
        raise InputError(f"{record.name}: {record.file} cannot be downloaded · {record.note}")
    return Offer(
        name=record.name,
        places=record.places,
        revision=record.revision,
        licence=record.licence.name,
        url=record.licence.url,
        commercial=record.licence.commercial,
        summary=record.licence.summary,
        nbytes=record.nbytes,
        sha256=record.sha256,
        loadable=record.loadable,
        record=record,
    )


def _hub_offer(name: str, address: HubAddress, source: str | Path | None) -> Offer:
    """Ask the hub (or look into a mirror folder) what a repository holds."""
    licence, revision = "unknown", address.revision
    if isinstance(source, Path):
        names = [f.name for f in _mirrored_folder(source, address).iterdir() if f.is_file()]
    else:
        info = _ask(
            lambda hub: hub.HfApi(endpoint=source).model_info(address.repo, revision=revision),
            address.repo,
        )
        names = [s.rfilename for s in info.siblings or ()]
        tags = [t.removeprefix("license:") for t in info.tags or () if t.startswith("license:")]
        licence = (tags or ["unknown"])[0]
    return Offer(
        name=name,
        places=((address.repo, _choose(name, names)),),
        revision=revision,
        licence=licence,
        url=f"{_HUB}/{address.repo}",
        commercial="unknown",
        summary="read the page of the repository before you use it.",
        extra=tuple(n for n in ("config.json", "preprocessor_config.json") if n in names),
    )


def _choose(name: str, names: Iterable[str]) -> str:
    """Pick the weights among the files at the top of a repository."""
    top = sorted(n for n in names if "/" not in n)
    for suffix in _WEIGHTS:
        found = [n for n in top if n.endswith(suffix)]
        if "model.safetensors" in found:
            return "model.safetensors"
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{name}: {len(found)} weights files ({', '.join(found[:3])}, …) · wanted one, or "
                "model.safetensors"
            )
    raise InputError(f"{name}: no .safetensors or .pth file in the repository")


def _mirror(mirror: str | Path | None) -> str | Path | None:
    """Return a mirror folder as a path, an address as text, None for the hub itself."""
    if mirror is None:
        return os.environ.get("HF_ENDPOINT")
    if str(mirror).startswith(("https://", "http://")):
        return str(mirror).rstrip("/")
    path = Path(mirror).expanduser()
    if not path.is_dir():
        raise InputError(f"mirror {mirror} · wanted a folder, or an address with https://")
    return path


def _refuse_offline(what: str, target: Path) -> None:
    from huggingface_hub import constants

    word = os.environ.get("HF_HUB_OFFLINE", "")
    if constants.HF_HUB_OFFLINE or word.upper() in ("1", "ON", "YES", "TRUE"):
        raise InputError(
            f"{what}: not downloaded, HF_HUB_OFFLINE is set · unset it, pass --mirror FOLDER, or "
            f"put the file into {target}"
        )


def _ask(call: Callable[[Any], Any], repo: str) -> Any:
    """Call the hub's client; turn its many errors into one of ours, except a missing file."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return call(huggingface_hub)
    except errors.EntryNotFoundError:
        raise
    except errors.GatedRepoError as error:
        raise InputError(
            f"{repo}: access must be granted · accept its terms on {_HUB}/{repo}, then run  "
            "hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{repo}: no such revision · leave out @… for the newest, or look at {_HUB}/{repo}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{repo}: no such repository, or it is private · check the name on {_HUB}, or "
            "hf auth login"
        ) from error
    except Exception as error:  # httpx, timeouts, proxies, disk: whatever the client raises
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{repo}: the download failed ({text}) · try again, set HF_ENDPOINT, or use --mirror"
        ) from error


def _download(offer: Offer, endpoint: str | None, staging: Path | None) -> _Got:
    """Transfer the first place that has the file, into a folder or the hub's cache."""
    from huggingface_hub.errors import EntryNotFoundError

    failed: list[str] = []
    for repo, inside in offer.places:
        try:
            try:
                return _transfer(offer, repo, inside, endpoint, staging)
            except EntryNotFoundError:
                moved = _search(offer, repo, endpoint)
                if moved is not None:
                    return _transfer(offer, repo, moved, endpoint, staging)
                failed.append(f"{repo}: no {offer.file}")
        except WeightsError:
            raise
        except InputError as error:
            failed.append(str(error))
    raise InputError(
        f"{offer.name}: " + "; ".join(failed) + " · download the file by hand and give its path"
    )


def _transfer(
    offer: Offer, repo: str, inside: str, endpoint: str | None, staging: Path | None
) -> _Got:
    where: dict[str, Any] = {"revision": offer.revision}

    def about(hub: Any) -> Any:
        return hub.get_hf_file_metadata(hub.hf_hub_url(repo, inside, endpoint=endpoint, **where))

    told = _ask(about, repo)
    commit = told.commit_hash or offer.revision
    if staging is not None:
        # Pin what was looked at, so that the checksum belongs to the bytes that follow. (The
        # cache must learn the name of the revision instead, to be found by it.)
        where["revision"] = commit

    def get(hub: Any) -> list[Path]:
        names = (*offer.extra, inside)
        return [
            Path(hub.hf_hub_download(repo, n, endpoint=endpoint, local_dir=staging, **where))
            for n in names
        ]

    *extra, path = _ask(get, repo)
    # The hub's tag of a large file is its SHA-256; of a small one, a Git object id.
    tag = told.etag if re.fullmatch(r"[0-9a-f]{64}", told.etag or "") else None
    place = f"{endpoint or _HUB}/{repo}/resolve/{commit or 'main'}/{inside}"
    return _Got(path=path, place=place, revision=commit, sha256=tag, extra=extra)


def _search(offer: Offer, repo: str, endpoint: str | None) -> str | None:
    """Find a file by its base name anywhere in a repository."""
    names = _ask(
        lambda hub: hub.HfApi(endpoint=endpoint).list_repo_files(repo, revision=offer.revision),
        repo,
    )
    found = [n for n in names if n.rpartition("/")[2] == offer.file]
    return found[0] if len(found) == 1 else None


def _copy(offer: Offer, mirror: Path, staging: Path) -> _Got:
    """Copy from a mirror folder: laid out as the hub, by name, flat, or anyhow."""
    repo, inside = offer.places[0]
    guesses = [mirror / repo / inside, mirror / offer.name / offer.file, mirror / offer.file]
    if offer.extra:
        guesses = [_mirrored_folder(mirror, HubAddress(repo, None)) / inside]
    found = next((g for g in guesses if g.is_file()), None)
    found = found or next(iter(sorted(mirror.rglob(offer.file))), None)
    if found is None:
        raise InputError(f"{offer.name}: no {offer.file} in {mirror} · wanted it anywhere inside")
    staging.mkdir(parents=True, exist_ok=True)
    paths = [Path(shutil.copyfile(p, staging / p.name)) for p in (found, *_beside(found, offer))]
    return _Got(path=paths[0], place=str(found), extra=paths[1:])


def _beside(found: Path, offer: Offer) -> list[Path]:
    return [found.parent / name for name in offer.extra]


def _mirrored_folder(mirror: Path, address: HubAddress) -> Path:
    for folder in (mirror / address.repo, mirror / address.repo.rpartition("/")[2]):
        if folder.is_dir():
            return folder
    raise InputError(f"{address.repo}: no such folder in {mirror}")


def _verify(offer: Offer, got: _Got) -> tuple[str, Verified]:
    """Check that what arrived is a weights file and the one that was meant."""
    with got.path.open("rb") as file:
        head = file.read(4096)
        file.seek(0)
        from vitruvian.model.opening import check_published
        from vitruvian.model.storage import open_tensors, refuse_stub

        refuse_stub(got.path, head, got.path.stat().st_size)
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    sha256 = digest.hexdigest()
    wanted, verified = (offer.sha256, "catalogue") if offer.sha256 else (got.sha256, "hub")
    if wanted is not None and wanted != sha256:
        raise WeightsError(
            f"{offer.file}: checksum {sha256[:16]}… · wanted {wanted[:16]}… (the {verified}'s) · "
            "the download was damaged or the file replaced: try again"
        )
    if offer.loadable and offer.record is not None:
        check_published(got.path, offer.record)
    elif offer.loadable:
        open_tensors(got.path)
    return sha256, verified if wanted is not None else "no"


def _write_terms(target: Path, offer: Offer, got: _Got, sha256: str, verified: Verified) -> None:
    """Write ``LICENCE.txt`` for people and ``source.json`` for programs."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    checked = {"catalogue": "catalogue's", "hub": "hub's"}.get(verified)
    text = [
        f"{offer.file} was downloaded on {today}; its licence was shown and accepted.",
        "",
        f"licence:        {offer.licence}",
        f"text:           {offer.url}",
        f"commercial use: {offer.commercial}",
        f"in short:       {offer.summary}",
        f"from:           {got.place}",
        f"revision:       {got.revision or 'unknown'}",
        f"sha256:         {sha256}",
        f"verified:       {f'yes, equal to the {checked} checksum' if checked else 'no'}",
        "",
        "These weights are not part of Vitruvian and are not under its licence.",
    ]
    target.mkdir(parents=True, exist_ok=True)
    (target / "LICENCE.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    facts = {
        "name": offer.name,
        "file": offer.file,
        "url": got.place,
        "revision": got.revision,
        "sha256": sha256,
        "verified": verified,
        "licence": offer.licence,
        "licence_url": offer.url,
        "commercial": offer.commercial,
        "date": today,
    }
    (target / "source.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
