"""The developer's root dialog: what may be wrong with what ``ROOT_DIALOG`` names, and what belongs to it."""

from __future__ import annotations

import inspect
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from botbuilder.core import ActivityHandler
from botbuilder.dialogs import ComponentDialog, Dialog
from botbuilder.dialogs.prompts import OAuthPrompt

from domain.errors import AsideError

OFFERED = ("conversation_state", "user_state", "services")
"""What a root dialog is made with, as far as its parameters name it."""
_OURS = (
    *("app", "settings", "logs", "web", "devchannel", "delivery", "jobs", "turns", "bots", "dialogs"),
    *("proactive", "sdk", "channel", "state", "domain"),
)
_NOBODYS = frozenset((*_OURS, "tests", "benchmarks", "soak", "__main__"))


class WrongRootDialog(AsideError):
    """What ``ROOT_DIALOG`` names is none; the message is why, and what to do."""

    def __init__(self, name: str, why: str, remedy: str) -> None:
        super().__init__(f"{name!r} cannot be used ({why}); {remedy}")


def check_root(name: str, named: Any, offered: Collection[str] = OFFERED) -> None:
    """Raises :class:`WrongRootDialog` if one can see, without calling it, that ``named`` gives no dialog."""
    if isinstance(named, Dialog):
        raise WrongRootDialog(name, "it is a dialog already", "name its class, or a function that returns it")
    if not callable(named):
        raise WrongRootDialog(
            name, "it is neither a class nor a factory", "name a dialog's class, or a function that returns one"
        )
    if inspect.isclass(named) and not issubclass(named, Dialog):
        _not_a_dialog(name, named)
    if inspect.iscoroutinefunction(named):
        raise WrongRootDialog(name, "it is a coroutine function", "write it as a plain function: def, not async def")
    if wanting := [parameter for parameter in _wanted(named) if parameter not in offered]:
        raise WrongRootDialog(
            name,
            f"nobody offers its {'parameters' if wanting[1:] else 'parameter'} {', '.join(wanting)}",
            f"{', '.join(offered)} are offered: give the rest a default, or name a function that takes these and "
            "returns the dialog",
        )


def make_root(name: str, named: Any, offered: Mapping[str, Any]) -> Dialog:
    """The root dialog, made with those of ``offered`` that its parameters name.

    Raises :class:`WrongRootDialog`, and what the developer's code raises.
    """
    check_root(name, named, tuple(offered))
    parameters = inspect.signature(named).parameters
    made = named(**{parameter: value for parameter, value in offered.items() if parameter in parameters})
    if not isinstance(made, Dialog):
        _not_a_dialog(name, type(made), "it returned ")
    return made


def _not_a_dialog(name: str, kind: type, said: str = "it is ") -> None:
    if issubclass(kind, ActivityHandler):
        what, remedy = f"an ActivityHandler ({kind.__name__})", "name the dialog that it runs; the service is its bot"
    else:
        what = "no Dialog" if said == "it is " else f"a {kind.__name__}, which is no Dialog"
        remedy = "name a class derived from one, such as ComponentDialog, or a function that returns one"
    raise WrongRootDialog(name, said + what, remedy)


def _wanted(factory: Callable[..., Any]) -> list[str]:
    """The parameters that have to be given."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some builtin
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


# --------------------------------------------------------------------- what belongs to it


def packages_beside(module: str) -> list[str]:
    """The root dialog's top-level package or module, and those that lie beside it and have been imported by now.

    None of the standard library, of what was installed or of this service; a script that lies there and that the
    bot does not import is none of them either, so that nothing is imported for a name that lies in the store.
    """
    root = module.partition(".")[0]
    folder = _folder(root)
    if folder is None or _installed(folder):
        return [root]
    names = [name for name in sys.modules if "." not in name and name not in _NOBODYS and name != root]
    return [root, *sorted(name for name in names if _folder(name) == folder)]


def _folder(name: str) -> Path | None:
    """Where a module that was imported lies, if it is Python source."""
    module = sys.modules.get(name)
    if paths := list(getattr(module, "__path__", ())):
        return Path(paths[0]).resolve().parent
    source = getattr(module, "__file__", None)
    return Path(source).resolve().parent if source and source.endswith(".py") else None


def _installed(folder: Path) -> bool:
    paths = [Path(path).resolve() for path in (sysconfig.get_path(name) for name in ("stdlib", "platstdlib")) if path]
    return folder in paths or {"site-packages", "dist-packages"} & set(folder.parts) != set()


def signs_in(root: Dialog) -> bool:
    """Whether an ``OAuthPrompt`` is among a dialog and what it holds."""
    return any(isinstance(dialog, OAuthPrompt) for dialog in _all_of(root, set()))


def _all_of(dialog: Dialog, seen: set[int]) -> Iterator[Dialog]:
    if id(dialog) in seen:
        return
    seen.add(id(dialog))
    yield dialog
    if isinstance(dialog, ComponentDialog):
        for inner in dialog._dialogs._dialogs.values():
            yield from _all_of(inner, seen)
