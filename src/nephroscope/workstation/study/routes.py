"""The addresses of the study's pages."""

from starlette.routing import Route

from nephroscope.workstation.study import worklist

ROUTES = [
    Route("/api/cases", worklist.list_cases, methods=["GET"]),
]
