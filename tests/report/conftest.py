"""Settings of the tests of the report."""

from hypothesis import settings

settings.register_profile("report", deadline=None)  # time says little on a shared machine
settings.load_profile("report")
