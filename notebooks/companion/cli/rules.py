"""The command that puts every weighting rule on the generators into one table."""

from typing import Annotated

import typer

from companion.cli import ProfileName, examples

app = typer.Typer()


@app.command(epilog=examples("rules --profile smoke", "rules --seeds 3 --only aef --only max-min"))
def rules(
    seeds: Annotated[int, typer.Option(help="how many seeds")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="only this rule; may be repeated; averaging is added")
    ] = None,
    profile: ProfileName = None,
) -> None:
    """Compare all weighting rules on the generators, between random signs and single models.

    One seed by default: its intervals are over faces alone. Finished runs are found again.
    """
    from aef_core.errors import BadInput
    from aef_core.weighting import RULES
    from companion.studies import study
    from companion.studies.rules import compare_rules, rules_view

    if unknown := [name for name in only or () if name not in RULES]:
        raise BadInput(f"unknown weighting rule {unknown[0]!r}; known: {', '.join(RULES)}")
    chosen = dict.fromkeys(["uniform", *(only or RULES)])
    lab = study.open_lab(profile)
    _, table = compare_rules(lab, range(seeds), chosen)
    print(f"L2_mask on {len(lab.test)} unseen faces, {lab.config.steps} steps, {seeds} seed(s)")
    print(rules_view(table).to_string())
