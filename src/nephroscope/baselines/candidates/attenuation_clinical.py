"""Attenuation, age, sex and size in one regression: what a careful reader knows in a minute."""

from nephroscope.baselines.candidate import StudyData
from nephroscope.baselines.clinical import clinical_table, lacks_clinical, tells_clinical
from nephroscope.baselines.feature_candidate import METHOD, FeatureCandidate
from nephroscope.baselines.features import FeatureTable
from nephroscope.baselines.measured import attenuation_table, tells_attenuation


def both_tables(data: StudyData) -> FeatureTable:
    """Columns of both."""
    return attenuation_table(data).beside(clinical_table(data))


def both_tell(data: StudyData) -> tuple[str, ...]:
    """What both tell."""
    return (*tells_attenuation(data), *tells_clinical(data))


CANDIDATE = FeatureCandidate(
    name="attenuation+clinical",
    told=f"attenuation and clinical features together; {METHOD}",
    table=both_tables,
    lacks=lacks_clinical,
    tells=both_tell,
)
