"""A command as it was typed, with some of it changed: what to type next."""

from __future__ import annotations

import datetime as dt
import shlex

import click


def retyped(context: click.Context, **changed: object) -> str:
    """The whole command of `context`, with the options that were given and those in `changed`, by parameters' names."""
    command, values, words = context.command, {**context.params, **changed}, []
    while context.parent is not None:
        words.insert(0, context.info_name)
        context = context.parent
    for parameter in command.params:
        value = values[parameter.name]
        if parameter.name not in changed and value == parameter.default:
            continue
        several = value if isinstance(value, tuple | list) else [] if value is None or value is False else [value]
        option = [max(parameter.opts, key=len)] if isinstance(parameter, click.Option) else []
        for each in several:
            words += option if each is True else [*option, _text(each)]
    return shlex.join(["sluice", *words])


def _text(value: object) -> str:
    return f"{value:%Y-%m-%d}" if isinstance(value, dt.datetime) else str(value)
