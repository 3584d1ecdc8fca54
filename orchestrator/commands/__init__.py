"""The verbs of `pagedbench`, one file each, imported only when its verb is used."""
