"""The HTTP API, one module a subject: `alerts`, `pins`, ...

To add a route: write it in the module of its subject (or a new one, named in
`webhook/__main__.py`) with `@api.operation(...)`, which takes everything that
the OpenAPI document says of it; the shapes of answers are in `shapes.py`.
"""
