"""CLAIM 2024 as items: 44 numbers with their topics in our words.

Source: Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300, doi 10.1148/ryai.240300.
"""

from nephroscope.report.checklists.checklist import Checklist, Item

EXPORT = "where they can be obtained; `nephroscope export` writes the model as a bundle"
AGAIN = "other folds and seeds: `nephroscope compare --repeats --seeds`"

CLAIM = Checklist(
    key="claim2024",
    name="CLAIM 2024",
    source="Tejani et al., Radiol Artif Intell 2024;6:e240300, doi 10.1148/ryai.240300",
    sections={
        "Title and abstract": (
            Item("1", "that AI is used, and which technology", "technology"),
            Item("2", "structured summary"),
        ),
        "Introduction": (Item("3", "background, intended use and role"), Item("4", "aims and hypotheses")),
        "Study design": (Item("5", "prospective or retrospective"), Item("6", "goal of the study")),
        "Data": (
            Item("7", "where the data come from", "source"),
            Item("8", "inclusion and exclusion", "eligibility", "who was screened, and by which criteria"),
            Item("9", "preprocessing", "preprocessing"),
            Item("10", "which part of the data was used", "subset"),
            Item("11", "de-identification", "", "how and where names were removed"),
            Item("12", "missing data", "missing"),
            Item("13", "image acquisition", "acquisition"),
        ),
        "Reference standard": (
            Item("14", "how the reference standard was obtained", "reference"),
            Item("15", "why this reference standard"),
            Item(
                "16", "who annotated the reference standard", "", "who read the pathology, with what training"
            ),
            Item(
                "17",
                "annotation of the test set",
                "",
                "whether the test cases were read in the same way as the others",
            ),
            Item(
                "18",
                "variability between and within readers",
                "agreement",
                "run `nephroscope agreement`, or say why not",
            ),
        ),
        "Partitions": (
            Item("19", "how cases were assigned", "partitions"),
            Item("20", "level at which parts are disjoint", "disjoint"),
        ),
        "Test data": (
            Item("21", "intended sample size", "", "`nephroscope plan` gives the patients an interval needs"),
        ),
        "Model": (
            Item(
                "22",
                "the model in detail",
                "model+output",
                left="its layers, or the paper that describes them",
            ),
            Item("23", "software and versions", "software"),
            Item("24", "how weights were initialized", "start"),
        ),
        "Training": (
            Item("25", "training in detail", "training"),
            Item("26", "how the final model was chosen", "selection"),
            Item("27", "ensembling", "ensemble"),
        ),
        "Evaluation": (
            Item("28", "measures of performance", "metrics"),
            Item("29", "significance and uncertainty", "uncertainty"),
            Item("30", "robustness and sensitivity", "subgroups+repeats", AGAIN),
            Item("31", "explanation of the answers, and its check", "saliency", "no saliency maps were made"),
            Item("32", "evaluation on internal data", "internal"),
            Item("33", "testing on external data", "external", "there is no external test set: say why"),
            Item("34", "trial registration"),
        ),
        "Results": (
            Item("35", "how many were included and excluded", "flow"),
            Item(
                "36",
                "characteristics in each part",
                "characteristics+parts",
                "by fold, only subtypes are given",
            ),
            Item("37", "performance with uncertainty", "performance"),
            Item("38", "diagnostic accuracy and its precision", "accuracy"),
            Item("39", "analysis of failures", "failures"),
        ),
        "Discussion": (Item("40", "limitations", "limitations"), Item("41", "meaning for practice")),
        "Other": (
            Item(
                "42",
                "protocol and further technical details",
                "",
                "registered protocol; report.json holds the settings",
            ),
            Item("43", "availability of software, model and data", "", EXPORT),
            Item("44", "funding"),
        ),
    },
)
