"""The page's words in English and Chinese, chosen by the browser's language.

They are those of the tables of :mod:`seg_demo.core.errors` under ``page.``. Static texts are translated in the browser by
``gr.I18n``; what the server writes later (about a model, for example) follows the request's ``Accept-Language``, which browsers send
for the same setting. The viewer carries its own words.
"""

from __future__ import annotations

import gradio as gr
from gradio.i18n import I18nData

from seg_demo.core.errors import LANGUAGES, table
from seg_demo.core.types import Task
from seg_demo.gateway.visitor import language_of, spoken

__all__ = ["I18N", "SPOKEN", "WORDS", "language_of", "spoken", "t", "task_words", "words"]

_AREA = "page."
# key: (English, Chinese)
WORDS: dict[str, tuple[str, str]] = {
    key.removeprefix(_AREA): (text, table("zh")[key]) for key, text in table("en").items() if key.startswith(_AREA)
}
# What gradio tells screen readers without having words for it (6.31): they would hear the key.
SPOKEN: dict[str, tuple[str, str]] = {
    key: tuple(table(language)[f"spoken.{key.replace('.', '_')}"] for language in LANGUAGES)
    for key in ("common.complete", "status.queue_position")
}

# Gradio keeps its own words in the same table, so ours carry a prefix.
PREFIX = "seg_"
_LOCALES = (("en", 0), ("zh", 1), ("zh-CN", 1), ("zh-TW", 1))
I18N = gr.I18n(
    **{
        locale: {key: both[which] for key, both in [*((PREFIX + key, both) for key, both in WORDS.items()), *SPOKEN.items()]}
        for locale, which in _LOCALES
    }
)


def t(key: str) -> I18nData:
    """A static text that the browser translates.

    Raises:
        KeyError: no such text.
    """
    if key not in WORDS:
        raise KeyError(key)
    return I18N(PREFIX + key)


def task_words(task: Task, language: str | None = None) -> tuple[I18nData | str, I18nData | str]:
    """Title of a task and what to say about it first; its bare name where nobody has written words for it.

    Args:
        task: of the table.
        language: ``en`` or ``zh``; None for static texts, which the browser translates.
    """
    title = task.title or task.name

    def text(key: str, otherwise: str) -> I18nData | str:
        if key not in WORDS:
            return otherwise
        return t(key) if language is None else words(key, language)

    return text(title, task.name.capitalize()), text(f"{title}_lead", "")


def words(key: str, language: str) -> str:
    """A text that the server writes, in ``en`` or ``zh``."""
    english, chinese = WORDS[key]
    return chinese if language == "zh" else english
