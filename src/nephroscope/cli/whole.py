"""The command demo."""

from dataclasses import dataclass

from nephroscope.cli.outcome import Command, Outcome, StudyPath


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """The whole way on a SYNTHETIC cohort: phantoms, slices, training, evaluation, report, bundle, prediction.

    Example: nephroscope demo my-demo --seed 3
    """

    study: StudyPath
    """New folder."""
    seed: int = 0
    """Of phantoms, split and training."""
    cases: int = 240
    """Phantoms to make; three in ten are the test."""
    shuffle_labels: bool = False
    """Deal subtypes out at random: the figures must then stay at chance."""

    def run(self) -> Outcome:
        """Go."""
        from nephroscope.demo import DemoPlan, run_demo

        plan = DemoPlan(n_cases=self.cases, seed=self.seed, shuffle_labels=self.shuffle_labels)
        data = run_demo(self.study, plan)
        auc, one = data["case"]["auc"], data["prediction"]
        figure = "did not converge"
        if auc["value"] is not None:
            figure = (
                f"{auc['value']:.3f} ({auc['low']:.3f}-{auc['high']:.3f}; {auc['n']} cases; {auc['method']})"
            )
        lines = [
            f"SYNTHETIC cohort. AUC by case on held-out phantoms: {figure}",
            f"case {one['case_id']}: {one['call'] or 'not sure'} ({one['reason']}); truth {one['truth']}",
            f"report: {data['report']}  (open it in a browser)",
            f"bundle: {data['bundle']}  (nephroscope predict {data['bundle']} IMAGE --roi ROI)",
            f"{data['seconds']:.0f} s",
        ]
        return Outcome(data=data, text="\n".join(lines))
