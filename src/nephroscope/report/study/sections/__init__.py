"""The sections of a run's page, a file each; `nephroscope.report.study.page` lists them in reading order."""
