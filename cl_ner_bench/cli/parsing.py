"""Parsers of command lines, and the options of a grid as flags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import MISSING
from typing import Any, NoReturn

from cl_ner_bench.errors import UserError, did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser that raises UserError with a suggestion for wrong use."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        hint = did_you_mean(wrong[1], re.findall(r"'(.*?)'", wrong[2])) if wrong else ""
        if of_flag := re.fullmatch(r"argument (--\S+): invalid int value: (.*)", message):
            message = f"{of_flag[1]} {of_flag[2]}: expected a whole number"
        raise UserError(f"{message}.{hint} See `{self.prog} --help`")

    def parse_known_command(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse a command line.

        Raises:
            UserError: the command does not know an argument.
        """
        parsed, unknown = self.parse_known_args(words)
        if unknown:
            command = getattr(parsed, "parser", self)
            flag = unknown[0].partition("=")[0]
            without_flag = {f"--{a.dest}": a.metavar or a.dest for a in command._actions if not a.option_strings}
            hint = did_you_mean(flag, list(command._option_string_actions))
            if flag in without_flag:
                hint = f" Give it without the flag: `{command.prog} {without_flag[flag]}`."
            if not unknown[0].startswith("-"):
                hint += " Commas separate several values of an option, as in --seeds 0,1,2."
            raise UserError(f"unknown argument {unknown[0]!r}.{hint} See `{command.prog} --help`")
        return parsed


def add_command(
    commands: Any, name: str, execute: Callable[[argparse.Namespace], int], help: str, **options: Any
) -> Parser:
    """Add a command to ``commands``, the subparsers of a parser; ``execute`` runs it and returns the exit code."""
    parser: Parser = commands.add_parser(name, help=help, **{"description": f"{help[0].upper()}{help[1:]}.", **options})
    parser.set_defaults(execute=execute, parser=parser)
    return parser


def add_options(
    parser: Parser,
    names: Iterable[str],
    config: bool = False,
    preset: Collection[str] = (),
    source: str = "the preset's",
) -> None:
    """Add the options ``names`` of `bench run` in their groups; ``config`` adds the option for a file of options.

    The help gives ``source`` as the default of the options ``preset``.
    """
    from cl_ner_bench.running.options import FILES, OPTIONS

    options = {name: OPTIONS[name] for name in names}
    titles = dict.fromkeys(option.metadata["group"] for option in options.values())
    groups = {title: parser.add_argument_group(title) for title in titles}
    for name, option in options.items():
        group, flag = groups[option.metadata["group"]], f"--{name.replace('_', '-')}"
        text = option.metadata["help"].replace("%", "%%")  # argparse formats with %
        if isinstance(option.default, bool):
            group.add_argument(flag, action="store_true", default=None, help=f"{text} (default: off)")
        else:
            action = "append" if option.default_factory is dict else "store"
            if name in preset:
                text = f"{re.sub(r' [(]default: .*[)]$', '', text)} (default: {source})"
            else:
                text += _default(option.default)
            group.add_argument(flag, metavar=option.metadata["metavar"], action=action, help=text)
    if config:
        files = groups.get(FILES, parser)
        files.add_argument("--config", metavar="FILE.toml", help="read options from a TOML file; flags override it")


def given(parsed: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return the values of the options ``names``; None for options that the user did not give."""
    return {name: getattr(parsed, name) for name in names}


def _default(value: Any) -> str:
    if value in (None, MISSING, ()):
        return ""
    return f" (default: {','.join(map(str, value)) if isinstance(value, tuple) else value})"
