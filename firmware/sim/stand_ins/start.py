"""What a chip does when it gets power: boot.py, then main.py."""

import firmware.boot
import firmware.main  # noqa: F401
