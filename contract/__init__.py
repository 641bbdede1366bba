"""The one agreement between devices and services: topics, payloads, limits.

Everything here runs on CPython and on MicroPython (ESP8266 included), so it
uses neither typing nor pathlib nor re. It never opens a socket or a file.
"""
