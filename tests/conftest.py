"""What all tests share: properties draw the same examples on every machine and in every run.

Set `HYPOTHESIS_PROFILE=random` to look for new counterexamples.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("random", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
