"""What a person does with containers: create, wait, exec, logs, files, transfers, floating IPs, terminals.

Everything here is synchronous and thread-safe, takes a `zun.Client` first and knows nothing of Jupyter. Long
calls take `on_progress` (called with a `Progress`) and `cancel` (asked often; True ends the call with
`errors.Cancelled`, whose message says what state things are in).
"""
