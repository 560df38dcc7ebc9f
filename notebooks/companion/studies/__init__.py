"""Comparisons the notebooks make: each module measures one question and returns tables.

How a notebook gets its tables, beside the lab and the comparison all share (`study.open_lab`,
`study.compare`), the kept runs (`kept.at_hand`, `kept.judged`) and the single-model references
(`references.single_model`, `.evaluate_each`):

- 00 before and after: `study.story`
- 01 imbalance: kept runs, `study.intervals`
- 02 static against dynamic: kept runs, `study.results_table`; its tau from
  `temperature.choose_tau`, other settings from `temperature.swept`
- 03 qualitative: kept runs, `qualitative.forgeries`, `visibility.radii`
- 05 dynamics: kept runs, two short ones
- 06 methods: kept runs, summed up by `main_table`, read by `judgement`; the protocol's price from
  `protocol.contrast`; the same patterns on CelebA and LFW by `kept.photographs.beside`
- 07 robustness: `robustness.survival`, `attackers.subtraction_attack`
- 08 resistance: `resistance.gradient_table`, `.pair_orders`; `visibility.under_budgets`
- 09 fragility: kept runs and stored checkpoints, put together by `curves.forest`
- 10 transfer: `transfer.leave_one_out`, and `unseen.load_unseen` for another family
- 11 other targets: `other_targets.compare_rules`, on the classifiers of `ensemble`

Notebook 04 measures with `companion.bench`, notebook 12 judges with `companion.claims`.
`rules.compare_rules` serves a command, `aef_core.jobs` a cluster.
"""
