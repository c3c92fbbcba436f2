"""How long, and with how many examples, properties are tried."""

from hypothesis import settings

# The machine is shared: how long an example takes says nothing.
settings.register_profile("usual", deadline=None)
settings.register_profile("thorough", parent=settings.get_profile("usual"), max_examples=1000)
settings.load_profile("usual")
