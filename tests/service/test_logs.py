"""What the logs cost a service at its start."""

import subprocess
import sys


def test_a_service_logs_without_loading_rich() -> None:
    """It takes an eighth of the start and 4 MB; who draws with it can load it afterwards."""
    text = "import sys, service.logs; assert 'rich' not in sys.modules; import rich.console"
    subprocess.run([sys.executable, "-c", text], check=True, timeout=30)
