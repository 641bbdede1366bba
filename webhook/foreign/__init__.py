"""Devices of other firmware, as if they were Pinloop's.

Each firmware is one module that says which topics and payloads it uses; `twin`
stands in for a device on Pinloop's side of the broker, `bridge` connects both.
"""
