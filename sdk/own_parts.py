"""The developer's own parts, and the folder they lie in: bot, root dialog, middleware; what may be wrong with what
``BOT_DIR``, ``BOT``, ``ROOT_DIALOG`` and ``MIDDLEWARE`` name, and what belongs to it."""

from __future__ import annotations

import difflib
import inspect
import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from botbuilder.core import ActivityHandler
from botbuilder.dialogs import ComponentDialog, Dialog
from botbuilder.dialogs.prompts import OAuthPrompt

from domain.errors import AsideError

OFFERED = ("conversation_state", "user_state", "services", "adapter")
"""What a root dialog is made with, as far as its parameters name it."""
OFFERED_TO_BOTS = (*OFFERED, "dialog")
"""What a bot and its middleware are made with likewise."""
_OURS = (
    *("app", "settings", "slips", "logs", "web", "devchannel", "delivery", "jobs", "turns", "bots", "dialogs"),
    *("proactive", "sdk", "channel", "state", "domain"),
)
_REPLACED = ("bots", "dialogs")
"""What holds the bot that ships, and nothing else: a developer's own takes its place."""
_SCRIPTS = ("app", "main", "tests", "conftest", "setup", "__main__")
"""What nobody imports by itself."""
_NOBODYS = frozenset((*_OURS, "tests", "benchmarks", "soak", "__main__"))


class WrongPart(AsideError):
    """What a setting names is not what it should be; the message is why, and what to do."""

    def __init__(self, name: str, why: str, remedy: str) -> None:
        super().__init__(f"{name!r} cannot be used ({why}); {remedy}")


def check_root(name: str, named: Any, offered: Collection[str] = OFFERED) -> None:
    """Raises :class:`WrongPart` if one can see, without calling it, that ``named`` gives no dialog."""
    if isinstance(named, Dialog):
        raise WrongPart(name, "it is a dialog already", "name its class, or a function that returns it")
    if not callable(named):
        raise WrongPart(
            name, "it is neither a class nor a factory", "name a dialog's class, or a function that returns one"
        )
    if inspect.isclass(named) and not issubclass(named, Dialog):
        _not_a_dialog(name, named)
    _check_factory(name, named, offered, "the dialog")


def check_handler(name: str, named: Any, what: str, offered: Collection[str] = OFFERED_TO_BOTS) -> None:
    """Raises :class:`WrongPart` if one can see, without calling it, that ``named`` gives no bot or no middleware:
    anything that has ``on_turn``. ``what`` it should be, in a word."""
    if not callable(named):
        raise WrongPart(name, "it is neither a class nor a factory", f"name the class of a {what}, or a function")
    if inspect.isclass(named) and not callable(getattr(named, "on_turn", None)):
        why = f"{named.__name__} has no on_turn"
        raise WrongPart(name, why, f"name a class that is a {what}, or a function that returns one")
    _check_factory(name, named, offered, f"the {what}")


def make_handler(name: str, named: Any, what: str, offered: Mapping[str, Any]) -> Any:
    """A bot or middleware, made with those of ``offered`` that its parameters name. Raises :class:`WrongPart`, and what
    the developer's code raises."""
    check_handler(name, named, what, tuple(offered))
    made = _made(named, offered)
    if not callable(getattr(made, "on_turn", None)):
        why = f"it returned a {type(made).__name__}, which has no on_turn"
        raise WrongPart(name, why, f"return a {what} from it")
    return made


def _check_factory(name: str, named: Any, offered: Collection[str], result: str) -> None:
    if inspect.iscoroutinefunction(named):
        raise WrongPart(name, "it is a coroutine function", "write it as a plain function: def, not async def")
    if wanting := [parameter for parameter in _wanted(named) if parameter not in offered]:
        raise WrongPart(
            name,
            f"nobody offers its {'parameters' if wanting[1:] else 'parameter'} {', '.join(wanting)}",
            f"{', '.join(offered)} are offered: give the rest a default, or name a function that takes these and "
            f"returns {result}",
        )


def _made(factory: Callable[..., Any], offered: Mapping[str, Any]) -> Any:
    try:
        parameters = set(inspect.signature(factory).parameters)
    except ValueError:  # some builtin
        parameters = set()
    return factory(**{parameter: value for parameter, value in offered.items() if parameter in parameters})


def make_root(name: str, named: Any, offered: Mapping[str, Any]) -> Dialog:
    """The root dialog, made with those of ``offered`` that its parameters name.

    Raises :class:`WrongPart`, and what the developer's code raises.
    """
    check_root(name, named, tuple(offered))
    made = _made(named, offered)
    if not isinstance(made, Dialog):
        _not_a_dialog(name, type(made), "it returned ")
    return made


def _not_a_dialog(name: str, kind: type, said: str = "it is ") -> None:
    if issubclass(kind, ActivityHandler):
        what, remedy = f"an ActivityHandler ({kind.__name__})", "name the dialog that it runs, and the handler as BOT"
    else:
        what = "no Dialog" if said == "it is " else f"a {kind.__name__}, which is no Dialog"
        remedy = "name a class derived from one, such as ComponentDialog, or a function that returns one"
    raise WrongPart(name, said + what, remedy)


def _wanted(factory: Callable[..., Any]) -> list[str]:
    """The parameters that have to be given."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some builtin
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


# --------------------------------------------------------------------- the folder


def enter(folder: Path) -> None:
    """Make a bot's folder the one where modules are looked for first, and where relative files are opened.

    Raises :class:`WrongPart` where that is no folder, or has a top-level name that the service itself has imported.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise WrongPart(str(folder), "there is no such folder", "name the folder that has the bot's modules")
    clashing = [name for name in _top_level(folder) if _is_needed(name, folder)]
    if clashing:
        raise WrongPart(
            str(folder),
            f"the service itself needs the top-level name{'s' if clashing[1:] else ''} {', '.join(clashing)}",
            "rename there what is called so, with what imports it",
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    os.chdir(folder)


def modules_in(folder: Path) -> list[str]:
    """The names whose classes may be stored in state: of all modules of a bot's folder, but not its scripts."""
    return [name for name in _top_level(folder.expanduser().resolve()) if name not in _SCRIPTS]


def _top_level(folder: Path) -> list[str]:
    """Names by which something in a folder can be imported."""
    modules = [path.stem for path in folder.glob("*.py")]
    packages = [path.parent.name for path in folder.glob("*/*.py")]
    return sorted({name for name in (*modules, *packages) if name.isidentifier()})


def _is_needed(name: str, folder: Path) -> bool:
    """Whether importing ``name`` would give the service something else than it needs."""
    if name in _REPLACED or name in _SCRIPTS:
        return False
    if name in _OURS or name in sys.stdlib_module_names:
        return True
    return name in sys.modules and _folder(name) != folder


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


# --------------------------------------------------------------------- paths to what it holds


def nowhere(root: Dialog, names: Iterable[str]) -> list[str]:
    """A sentence for each of ``names`` (ids, or paths such as ``root/menu``) at which no dialog can be active."""
    seen_from = _seen_from(root)
    ids = {root.id}.union(*seen_from.values())
    paths = [f"{outer}/{inner}" for outer, inside in seen_from.items() for inner in sorted(inside)]
    mistakes = []
    for name in names:
        steps = name.split("/")
        if steps[0] in ids and all(inner in seen_from.get(outer, ()) for outer, inner in pairwise(steps)):
            continue
        near = difflib.get_close_matches(name, [*sorted(ids), *paths], n=1)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(ids))}"
        mistakes.append(f"{name!r} is no dialog that the root dialog holds when it is made; {remedy}")
    return mistakes


def _seen_from(root: Dialog) -> dict[str, set[str]]:
    """By the id of each component, the ids of the dialogs that it can begin: its own, and what those around it hold."""
    seen: dict[str, set[str]] = {}
    todo, done = [(root, frozenset({root.id}))], set()
    while todo:
        dialog, around = todo.pop()
        if not isinstance(dialog, ComponentDialog) or (id(dialog), around) in done:
            continue
        done.add((id(dialog), around))
        inner = dialog._dialogs._dialogs
        seen.setdefault(dialog.id, set()).update(around, inner)
        todo += [(each, around.union(inner)) for each in inner.values()]
    return seen
