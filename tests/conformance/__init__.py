"""The server that the Connect project's conformance suite tests: this project's transports, its ConformanceService.

`make conformance` runs the suite. https://github.com/connectrpc/conformance
"""
