"""`sluice deploy`: a stage as the code has it, from nothing or from what is there."""

from __future__ import annotations

from pathlib import Path

import click

from deploy import account, deployment, plan
from deploy.kinds.lambdas import Configuration


@click.command()
@click.option("--stage", required=True, help="A stage of .chalice/config.json.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option("--prepare", is_flag=True, help="Stop before `chalice deploy`, which may then be run by itself.")
@click.option("--smoke/--no-smoke", default=None, help="Run three rows afterwards; by default where something changed.")
@click.option("--unconfirmed-alerts", is_flag=True, help="Deploy although somebody has not confirmed the alerts.")
@click.option("--yes", is_flag=True, help="Delete and replace without asking.")
def deploy(stage, dry_run, prepare, smoke, unconfirmed_alerts, yes) -> None:
    """Make everything of a stage on AWS, or bring it up to date."""
    folder = Path.cwd()
    with (
        account.refusals_told(),
        deployment.opened(folder, stage, _progress, dry_run=dry_run, unconfirmed_alerts=unconfirmed_alerts) as opened,
    ):
        for notice in opened.notices:
            click.echo(f"note: {notice}", err=True)
        if dry_run:
            click.echo("\n".join(opened.plan.lines()))
            return
        changes = opened.plan.changes
        done = opened.plan.before_functions.changes if prepare else changes
        destructive = [step for step in done if step.action in (plan.DELETE, plan.REPLACE)]
        if destructive and not yes:
            click.echo("\n".join(line for step in destructive for line in step.lines()), err=True)
            click.confirm("Delete or replace these?", abort=True, err=True)
        if not changes:
            click.echo(f"Nothing to change: stage {stage} is as the code has it.")
        else:
            opened.apply(_progress, prepare)
        if prepare:
            click.echo(f"Prepared. Next: chalice deploy --stage {stage}, then sluice deploy --stage {stage}")
            return
        if changes:
            click.echo(f"Deployed: {opened.plan.summary()}.")
            if url := opened.api_url:
                click.echo(f"API: {url}")
            if opened.api_domain:
                click.echo("Its domain {} needs a CNAME or alias record that leads to {}.".format(*opened.api_domain))
        # a fresh checkout gets its configuration; what runs on AWS is as it was
        is_other = any(step.type != Configuration.type for step in changes)
        if smoke or (smoke is None and (is_other or opened.record.smoke_is_due)):
            _tell(opened.smoke(_progress))
        elif is_other:
            click.echo("The next run brings the database's schema up to date; until then the API may answer 503.")
        if waiting := opened.unconfirmed():
            click.echo(
                f"Alerts reach nobody at {', '.join(waiting)} yet: click the link in the email from AWS"
                " (no-reply@sns.amazonaws.com) within two days."
            )


def _tell(went) -> None:
    counts = went.account
    parts = " + ".join(f"{counts[n]} {n}" for n in ("inserted", "updated", "unchanged", "duplicates", "quarantined"))
    click.echo(f"Smoke run {went.run_id}: {counts['fetched']} fetched = {parts}.")
    if not went.table_dropped:
        click.echo(f"Its table curated.{deployment.smoke.TABLE} stays: the database cannot be reached from here.")


def _progress(line: str) -> None:
    click.echo(f"  {line}", err=True)
