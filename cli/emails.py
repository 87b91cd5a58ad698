"""`sluice emails`: the alerts that the local stack's SNS would have sent."""

from __future__ import annotations

import click

from chalicelib.errors import ConfigurationError
from local.home import home
from local.stack import Stack


@click.command()
@click.option("--run", "run_id", metavar="RUN", help="Only emails about this run.")
def emails(run_id) -> None:
    """Print the emails sent since the local stack is up, newest last."""
    stack = Stack(home())
    if stack.info() is None:
        raise ConfigurationError("the local stack is not running", next_step="sluice up")
    sent = [mail for mail in stack.sent_emails() if run_id is None or run_id in mail["subject"] + mail["message"]]
    if not sent:
        click.echo("No emails since the stack is up.")
    for number, mail in enumerate(sent):
        if number:
            click.echo("\n" + "-" * 78 + "\n")
        click.echo(f"Subject: {mail['subject']}\nTo: {', '.join(mail['to'])}\n\n{mail['message'].rstrip()}")
