"""`predict --table`: many cases into a folder of results."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from nephroscope.base.errors import ConfigError
from nephroscope.base.text import first_few
from nephroscope.cli.command import Command, CountOption, Outcome, PartName, PathOption, Switch, TextOption
from nephroscope.records import counted_noun

if TYPE_CHECKING:
    from nephroscope.facade.many.results import ManyAnswers
    from nephroscope.facade.many.run import DryRun, ManyCases

BOTH = ("bundle", "json", "table")  # options of one case and of many
SOME = 3  # exit code: done for some, not for others


@dataclass(frozen=True, kw_only=True)
class ManyOptions(Command):
    """Options of `predict --table`."""

    table: PathOption = None
    """Many cases instead of IMAGE: a table (CSV or Excel) with case_id and image, and roi, tumor_label, tumor_name,
    side, age_years, sex and size_mm where they are known. Paths are relative to its folder."""
    out: PathOption = None
    """With --table: folder of the results; with the same folder again it goes on."""
    jobs: CountOption = None
    """With --table: processes; by default one per core, as far as memory allows. Results do not depend on it."""
    ray: TextOption = None
    """With --table: address of a Ray cluster, or auto; every machine must see all files under the same paths."""
    objects: PartName = ""
    """With --table: DICOM objects to write for each case, such as sr,seg; sc too."""
    draw_with: PartName = ""
    """With --table: program that draws the tumor of cases without an ROI, as `segment --with` names it; the answer is
    then "not sure", as nobody accepted the ROI."""
    draw_model: PartName = ""
    """With --draw-with: weights of a known program, as `segment --model`."""
    time_limit_s: float = 600.0
    """With --table: seconds after which a case is ended and refused; a program that draws has as many for itself."""
    retry: Switch = False
    """With --table: try cases again that were refused."""
    dry_run: Switch = False
    """With --table: say what would be done, and write nothing."""

    def many_cases(self) -> "ManyCases | None":
        """The table that was asked for, or None.

        Raises:
            ConfigError: There is no folder for its results, or options of one case and of many are mixed.
        """
        many = {field.name for field in fields(ManyOptions)} - {*BOTH}
        others = [
            f"--{field.name.replace('_', '-')}"
            for field in fields(self)
            if field.name not in BOTH
            and (field.name in many) == (self.table is None)
            and getattr(self, field.name) != field.default
        ]
        if others:
            raise ConfigError(
                where="nephroscope predict",
                expected="options of one case, or --table CSV with --out FOLDER",
                found=f"{', '.join(others)} {'without' if self.table is None else 'with'} --table",
                remedy="give --table too"
                if self.table is None
                else "where the table has a column for them, fill that in; otherwise predict case by case",
            )
        if self.table is None:
            return None
        if self.out is None:
            raise ConfigError(
                where="nephroscope predict",
                expected="--out FOLDER for the results of --table",
                found="none",
                remedy="name a new folder",
            )
        from nephroscope.facade.many.run import ManyCases
        from nephroscope.segmenters.tool import check_program, tool_of

        tool = tool_of(self.draw_with, self.draw_model) if self.draw_with else None
        if tool is not None:
            check_program(tool)
        return ManyCases(
            table=self.table,
            out=self.out,
            jobs=self.jobs,
            ray=self.ray,
            objects=tuple(self.objects.replace(",", " ").split()),
            time_limit_s=self.time_limit_s,
            retry=self.retry,
            segmenter=tool,
        )


def many_outcome(made: "ManyAnswers") -> Outcome:
    """What came of a table."""
    from nephroscope.facade.many.results import RESULTS

    seconds = f"{made.computed / made.seconds:.2f} a second" if made.seconds else ""
    now = f"{counted_noun(made.computed, 'case')} in this run" + (f", {seconds}" if made.computed else "")
    lines = [made.summary(), f"{now}. Results: {made.folder / RESULTS}", *_of_the_table(made)]
    lines.append("Research use only; not a medical device.")
    rest = made.cases - made.answered
    warning = f"{rest} not answered: column refusal of {RESULTS} says why" if rest else ""
    return Outcome(data=made, text="\n".join(lines), warning=warning, exit_code=SOME if rest else 0)


def dry_outcome(plan: "DryRun") -> Outcome:
    """What would be done with a table."""
    processes = "1 process" if plan.processes == 1 else f"{plan.processes} processes"
    lines = [
        f"to predict: {counted_noun(plan.to_predict, 'case')} in {processes}",
        f"ended before: {plan.answered} answered, {plan.refused} refused",
    ]
    for names, what in (
        (plan.without_roi, "without ROI, which this bundle needs"),
        (plan.no_image, "whose image is not there"),
        (plan.no_roi, "whose ROI file is not there"),
    ):
        if names:
            lines.append(f"{counted_noun(len(names), 'case')} {what}: {first_few(names)}")
    return Outcome(data=plan, text="\n".join([*lines, *_of_the_table(plan), "nothing was written"]))


def _of_the_table(made: "ManyAnswers | DryRun") -> list[str]:
    """How the table was opened, and the columns that nobody looked at."""
    return [*made.doubts, *([f"columns not read: {first_few(made.unread)}"] if made.unread else [])]
