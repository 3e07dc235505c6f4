"""Licences of weights, and of what they were made from: whose terms hold for a fine-tune as well.

A repository's card says its licence and its base. Weights for research alone are not freed by another licence on the card of what
was made of them, so the whole line of bases is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, metadata_load
from yaml import YAMLError

from seg_demo.core import Message
from seg_demo.core.settings import settings
from seg_demo.hub import client

NVIDIA = "NVIDIA Source Code License (non-commercial)"
# Whose card says "other", by the beginning of the id: the licence is a file beside the weights.
KNOWN = {"nvidia/mit-b": NVIDIA, "nvidia/segformer-b": NVIDIA}
ALLOWS = frozenset(
    "apache-2.0 mit bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear isc unlicense cc0-1.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 "
    "gpl gpl-2.0 gpl-3.0 agpl-3.0 lgpl lgpl-2.1 lgpl-3.0 mpl-2.0 bsl-1.0 zlib afl-3.0 artistic-2.0 epl-2.0 ecl-2.0 eupl-1.2 ms-pl ncsa "
    "postgresql pddl odc-by cdla-permissive-1.0 cdla-permissive-2.0 wtfpl openrail openrail++ creativeml-openrail-m bigscience-openrail-m".split()
)
_FORBIDS = re.compile(r"(^|[\W_])(nc|non[-_ ]?commercial|research|academic)([\W_]|$)", re.IGNORECASE)
# Bases of bases that are asked for, and how many in all.
DEEPEST, MOST = 5, 8


def allows_commerce(licence: str) -> bool | None:
    """Whether a licence allows commercial use; None where its name does not tell.

    >>> [allows_commerce(name) for name in ("Apache-2.0", "cc-by-nc-sa-4.0", NVIDIA, "other", "")]
    [True, False, False, None, None]
    """
    if _FORBIDS.search(licence):
        return False
    return True if licence.strip().lower() in ALLOWS else None


def of_card(id: str, card: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Licence and bases that a repository's card states; what is no text is left out.

    >>> of_card("ann/x", {"license": "other", "license_name": "deal", "base_model": "b/c"}), of_card("nvidia/mit-b0", {})[0] == NVIDIA
    (('deal', ('b/c',)), True)

    Args:
        id: of the repository.
        card: the front matter of its README.
    """
    stated = card.get("license")
    first = stated[0] if isinstance(stated, list) and stated else stated
    name = first.strip()[:80] if isinstance(first, str) else ""
    if name.lower() in ("", "other"):
        named, known = card.get("license_name"), next((KNOWN[start] for start in KNOWN if id.startswith(start)), name)
        name = named.strip()[:80] if isinstance(named, str) and named.strip() else known
    bases = card.get("base_model")
    listed = [bases] if isinstance(bases, str) else bases if isinstance(bases, list) else []
    return name, tuple(base for base in listed if isinstance(base, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", base, re.ASCII))


@dataclass(frozen=True)
class Lineage:
    """A model and what it was made from.

    Attributes:
        licence: its own, as stated; empty if none is.
        bases: licence by the id of everything that it was made from, the nearest first.
        unseen: ids of bases that nobody could look at.
    """

    licence: str = ""
    bases: dict[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()

    @property
    def strictest(self) -> tuple[str, str | None]:
        """The licence that holds, and the id of the base that it comes from; None where it is the model's own."""
        if allows_commerce(self.licence) is not False:
            for id, licence in self.bases.items():
                if allows_commerce(licence) is False or (licence and not self.licence):
                    return licence, id
        return self.licence, None

    @property
    def commercial(self) -> bool | None:
        """Whether all licences allow commercial use; None where one does not tell."""
        told = [allows_commerce(licence) for licence in (self.licence, *self.bases.values())]
        if False in told:
            return False
        return None if None in told or self.unseen else True

    def described(self) -> Message:
        """In a sentence."""
        licence, base = self.strictest
        key = {True: "licences.commercial", False: "licences.not_commercial", None: "licences.ask"}[self.commercial]
        verdict = Message(key)
        if base is not None and self.licence:
            return Message("licences.base_holds", own=self.licence, base=base, licence=licence, verdict=verdict)
        if base is not None:
            return Message("licences.from_base", base=base, licence=licence, verdict=verdict)
        return Message("licences.own", licence=licence, verdict=verdict) if licence else Message("licences.none_stated")


def lineage(licence: str, bases: Iterable[str], ask: Callable[[str], tuple[str, tuple[str, ...]] | None]) -> Lineage:
    """A model's line of bases.

    Args:
        licence: the model's own.
        bases: ids that its card states.
        ask: id → licence and bases of a repository; None where it cannot be looked at.
    """
    found: dict[str, str] = {}
    unseen: list[str] = []
    waiting = [(id, 1) for id in bases]
    while waiting and len(found) + len(unseen) < MOST:
        id, depth = waiting.pop(0)
        if id in found or id in unseen:
            continue
        answer = ask(id)
        if answer is None:
            unseen.append(id)
            continue
        found[id] = answer[0]
        waiting += [(base, depth + 1) for base in answer[1] if depth < DEEPEST]
    return Lineage(licence, found, tuple(unseen))


def on_hub(id: str, *, token: bool) -> tuple[str, tuple[str, ...]] | None:
    """Licence and bases of a repository of the Hub; None where it does not answer in time, or not about this one.

    Args:
        id: ``user/repo``.
        token: whether the login of this machine may be used.
    """
    if constants.is_offline_mode():
        return None
    try:
        info = client.within(settings().hub_timeout, lambda: HfApi(token=None if token else False).model_info(id))
    except (*client.TRANSPORT_ERRORS, ValueError, RuntimeError):
        return None
    return of_card(id, info.card_data.to_dict() if info.card_data is not None else {})


def of_folder(folder: Path) -> Lineage | None:
    """A checkpoint folder's line of bases, as the README.md in it states them; the login of this machine may be used. None without a card that can
    be read.

    Args:
        folder: of the owner of this machine.
    """
    try:
        card = metadata_load(folder / "README.md")
    except (OSError, ValueError, YAMLError):
        return None
    if not isinstance(card, dict):
        return None

    def ask(base: str) -> tuple[str, tuple[str, ...]] | None:
        known = of_card(base, {})[0]
        return on_hub(base, token=True) or ((known, ()) if known else None)

    return lineage(*of_card("", card), ask)


@lru_cache(maxsize=64)
def inherited(id: str, licence: str = "") -> str:
    """The licence that holds for what is made of a model of the Hub; the login of this machine is used, and what was answered once is
    remembered.

    Args:
        id: ``user/repo``, perhaps with a folder behind it.
        licence: of the model, where that is known; it is all that is told where the Hub does not answer.
    """
    answer = on_hub("/".join(id.split("/")[:2]), token=True)
    if answer is None:
        return licence
    return lineage(licence or answer[0], answer[1], lambda base: on_hub(base, token=True)).strictest[0]
