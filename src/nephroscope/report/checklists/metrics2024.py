"""METRICS as items: 30 numbers in 9 categories, topics in our words.

Source: Kocak et al., Insights into Imaging 2024;15:8, doi 10.1186/s13244-023-01572-w, Table 1.
"""

from nephroscope.report.checklists.checklist import Checklist, Item

EXPORT = "where it can be obtained; `nephroscope export` writes it as a bundle"

METRICS = Checklist(
    key="metrics2024",
    name="METRICS (2024)",
    source="Kocak et al., Insights Imaging 2024;15:8, doi 10.1186/s13244-023-01572-w",
    note=(
        "No score is computed: METRICS scores a paper, not a page, and items left to the authors would count "
        "as missing. Items 8 to 10 apply where regions are drawn, 9 where a tool draws them by itself, 12 and "
        "13 to hand-crafted features, 14 to 16 to tables of features, 17 to networks trained end to end."
    ),
    sections={
        "Study design": (
            Item("1", "a checklist was followed", "", "say which; three are filled in here"),
            Item(
                "2", "eligibility gives a representative sample", "", "the criteria, and whom they leave out"
            ),
            Item("3", "high-quality reference standard", "", "how pathology was read, and by whom"),
        ),
        "Imaging data": (
            Item("4", "several centers", "multicenter"),
            Item("5", "imaging as in clinical practice", "", "whether the protocol is the routine one"),
            Item("6", "acquisition protocol", "acquisition"),
            Item("7", "time between imaging and reference"),
        ),
        "Segmentation": (
            Item("8", "how regions were drawn", "annotation"),
            Item(
                "9",
                "check of fully automatic segmentation",
                "",
                "asked only where a tool drew the regions: its agreement with annotators",
            ),
            Item("10", "test regions by one annotator or a tool, as in practice", "one region"),
        ),
        "Image processing": (
            Item("11", "appropriate preprocessing, described", "preprocessing"),
            Item("12", "standardized feature software", "radiomics?"),
            Item("13", "feature settings described", "radiomics?", left="the settings in full"),
        ),
        "Feature processing": (
            Item("14", "features that are not robust removed", "?radiomics", "whether they were"),
            Item("15", "redundant features removed", "radiomics?"),
            Item("16", "number of features fits the data", "?radiomics", "why this number of features"),
            Item(
                "17",
                "robustness of an end-to-end network",
                "",
                "a second scan, regions of another annotator, or disturbed images",
            ),
        ),
        "Preparation for modeling": (
            Item("18", "proper partitions", "partitions+disjoint"),
            Item("19", "confounders handled", "shortcuts", left="what was done about those found"),
        ),
        "Metrics and comparison": (
            Item("20", "appropriate measures of performance", "metrics"),
            Item("21", "uncertainty", "uncertainty"),
            Item("22", "calibration", "calibration"),
            Item("23", "one image type only, or proof that one type alone performs worse", "one image"),
            Item(
                "24",
                "comparison with a non-radiomic approach, or proof of added value",
                "clinical",
                "run `nephroscope compare` with the candidate clinical, or `nephroscope readers`",
            ),
            Item("25", "comparison with simple models", "simple", "run `nephroscope compare`"),
        ),
        "Testing": (
            Item(
                "26",
                "internal testing",
                "held out",
                "cross-validation alone is no test: hold patients out with `nephroscope split --holdout`",
            ),
            Item("27", "external testing", "external", "there is no external test set: say why"),
        ),
        "Open science": (
            Item("28", "data available"),
            Item("29", "code available", "", "nephroscope is public; name the version"),
            Item("30", "model available", "", EXPORT),
        ),
    },
)
