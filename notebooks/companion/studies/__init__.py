"""Comparisons the notebooks make: each module measures one question and returns tables.

How a notebook gets its tables, beside the lab and the comparison all share (`study.open_lab`,
`study.compare`) and the single-model references (`references.single_model`, `.evaluate_each`):

- 00 before and after: `study.story`
- 01 imbalance: `study.compare`, `study.intervals`
- 02 static against dynamic: `study.compare`, `study.results_table`; its tau from
  `temperature.choose_tau`, other settings from `study.sweep`
- 03 qualitative: `qualitative.forgeries`, `visibility.radii`
- 05 dynamics: `study.compare`
- 06 methods: `main_table.main_table`, read by `judgement`; the protocol's price from
  `protocol.contrast`; the same table on other faces from `python -m companion methods`
- 07 robustness: `robustness.survival`, `attackers.subtraction_attack`
- 08 resistance: `resistance.gradient_table`, `.rank_correlations`; `visibility.under_budgets`
- 09 fragility: `curves.load_curves`, `.arms_compared`, of stored measurements
- 10 transfer: `transfer.leave_one_out`, and `unseen.load_unseen` for another family
- 11 other targets: `other_targets.compare_rules`, on the classifiers of `ensemble`

Notebook 04 measures with `companion.bench`, notebook 12 judges with `companion.claims`.
`rules.compare_rules` and `planning` serve the commands, `aef_core.jobs` a cluster.
"""
