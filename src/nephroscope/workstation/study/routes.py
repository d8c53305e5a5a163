"""The addresses of the study's pages."""

from starlette.routing import Route

from nephroscope.workstation.study import doubts, files, make, pictures, steps, worklist

ROUTES = [
    Route("/api/cases", worklist.list_cases, methods=["GET"]),
    Route("/api/cases/{id}/picture", pictures.picture, methods=["GET"]),
    Route("/api/doubts", doubts.doubts, methods=["GET"]),
    Route("/api/pages", doubts.list_pages, methods=["GET"]),
    Route("/pages/{id}", doubts.show_page, methods=["GET"]),
    Route("/api/study", make.study, methods=["GET"]),
    Route("/api/study", make.make_study, methods=["POST"]),
    Route("/api/folders", files.list_folder, methods=["POST"]),
    Route("/api/uploads", files.upload, methods=["POST"]),
    Route("/api/jobs", steps.list_jobs, methods=["GET"]),
    Route("/api/jobs", steps.begin, methods=["POST"]),
    Route("/api/jobs/{id}", steps.one_job, methods=["GET"]),
    Route("/api/jobs/{id}/cancel", steps.cancel_job, methods=["POST"]),
    Route("/api/jobs/{id}/again", steps.again, methods=["POST"]),
]
