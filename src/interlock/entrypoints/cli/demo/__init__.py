"""`interlock demo`: a minute of mixed traffic through two faulty providers, and the proof that every unit is accounted for.

`stories` says what merchants want, `traffic` carries it out with `merchant`'s client and `hook`'s webhook endpoint,
`settling` waits until nothing is under way, `proof` counts rows. `command` ties them together.
"""

from interlock.entrypoints.cli.demo.command import demo

__all__ = ["demo"]
