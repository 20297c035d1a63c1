"""The Jupyter server extension: routes below `<base_url>/chi-edge-lab/api/` on the core.

`operations` is the list of what may be asked (nothing else is passed on), `handler` how it is asked, `services` what
serves it; `api/` holds the REST operations by noun, `feeds/` what moves, `terminals/` and `transfers/` the rest.
"""
