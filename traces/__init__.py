"""The contract between the processes of a run: clock, records, writer, reader, control.

Everything a process says to another one is said here: data in JSONL files (`records`,
`writer`, `reader`), orders over a private pipe (`control`). Standard library and msgspec only
(typed records, encoded and decoded in about a microsecond), so that importing it costs a
measured process nothing.
"""
