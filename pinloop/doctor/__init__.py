"""`pinloop doctor`: asks the running system whether it works, and says what to do where it does not.

One module for each subject; each returns findings and changes nothing lasting.
"""

from pinloop.doctor.command import doctor

__all__ = ["doctor"]
