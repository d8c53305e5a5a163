"""TRIPOD+AI as items: 27 numbers, 52 with their parts, and their topics in our words.

Source: Collins et al., BMJ 2024;385:e078378, doi 10.1136/bmj-2023-078378.
"""

from nephroscope.report.checklists.checklist import Checklist, Item

NO_UPDATING = "cross-validation alone: no model was evaluated on other patients and updated"
BY_SITE = "figures by site: too few patients of each subtype at two sites, or one site"
EXPORT = "where it can be obtained; `nephroscope export` writes it as a bundle"

TRIPOD = Checklist(
    key="tripod-ai",
    name="TRIPOD+AI (2024)",
    source="Collins et al., BMJ 2024;385:e078378, doi 10.1136/bmj-2023-078378",
    note="(D): asked for development alone, (E): for evaluation alone; all others for both.",
    sections={
        "Title and abstract": (
            Item("1", "model, population, outcome", "technology"),
            Item("2", "abstract by its own list"),
        ),
        "Introduction": (
            Item("3a", "clinical context and reasons"),
            Item("3b", "target population and users"),
            Item("3c", "known inequalities between groups"),
            Item("4", "objectives"),
        ),
        "Methods: data": (
            Item("5a", "sources of data for development and evaluation", "source"),
            Item("5b", "dates of the data"),
            Item("6a", "setting and sites", "source"),
            Item("6b", "eligibility", "eligibility", "who was screened, and by which criteria"),
            Item("6c", "treatments", "", "whether imaging came before any treatment"),
            Item(
                "7",
                "preparation and quality of the data",
                "preprocessing",
                left="whether quality was similar in all groups of patients",
            ),
            Item("8a", "outcome, and how it was assessed", "reference"),
            Item("8b", "who assessed a subjective outcome"),
            Item("8c", "blinding of that assessment"),
            Item("9a", "choice of the predictors (D)", "input", left="why these"),
            Item("9b", "definition and time of the predictors", "preprocessing+acquisition"),
            Item("9c", "who assessed subjective predictors", "annotation"),
            Item("10", "sample size", "", "`nephroscope plan` gives the patients an interval needs"),
            Item("11", "missing data", "missing"),
        ),
        "Methods: analysis": (
            Item("12a", "which data are for development and which for evaluation (D)", "partitions+disjoint"),
            Item("12b", "handling of predictors (D)", "preprocessing"),
            Item(
                "12c",
                "model, its building and internal validation (D)",
                "model+training+selection+internal",
                left="why this kind of model",
            ),
            Item("12d", "heterogeneity between clusters", "sites", BY_SITE),
            Item("12e", "measures and plots of performance", "metrics+calibration+utility", left="why these"),
            Item("12f", "updating of the model (E)", "updating", NO_UPDATING),
            Item("12g", "how predictions were computed (E)", "output+ensemble"),
            Item("13", "class imbalance", "balance"),
            Item("14", "fairness", "fairness"),
            Item("15", "output and thresholds (D)", "threshold"),
            Item(
                "16",
                "differences of development and evaluation data",
                "parts",
                "there is no test set other than the folds",
                left="setting, eligibility, reference standard",
            ),
            Item("17", "ethical approval"),
        ),
        "Open science": (
            Item("18a", "funding"),
            Item("18b", "conflicts of interest"),
            Item("18c", "protocol"),
            Item("18d", "registration"),
            Item("18e", "sharing of data"),
            Item("18f", "sharing of code", "", "nephroscope is public; name the version"),
            Item("19", "patient and public involvement"),
        ),
        "Results": (
            Item("20a", "flow of participants", "flow"),
            Item(
                "20b", "characteristics, missing values", "characteristics+missing", left="dates, treatments"
            ),
            Item(
                "20c",
                "development and evaluation data compared (E)",
                "parts",
                "there is no test set other than the folds",
            ),
            Item("21", "participants and events in each analysis", "partitions+events"),
            Item("22", "the full model, so that others can use it (D)", "", EXPORT),
            Item("23a", "performance with intervals, also in subgroups", "performance+calibration+subgroups"),
            Item("23b", "heterogeneity of performance", "sites", BY_SITE),
            Item("24", "results of updating (E)", "updating", NO_UPDATING),
        ),
        "Discussion": (
            Item("25", "interpretation, fairness, earlier studies"),
            Item("26", "limitations", "limitations"),
            Item("27a", "handling of poor or missing input (D)", "poor input"),
            Item("27b", "skill and interaction users need (D)"),
            Item("27c", "next steps"),
        ),
    },
)
